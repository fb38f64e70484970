"""Generated smoke cases: small programs of SGLang's language with properties that must hold."""
