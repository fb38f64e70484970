"""The platform class that `ci.platform.cpu` names; importable only beside SGLang."""

from sglang.srt.platforms.cpu import CpuDeviceMixin
from sglang.srt.platforms.device_mixin import PlatformEnum
from sglang.srt.platforms.interface import PlatformCapabilities, SRTPlatform


class PlainCpuPlatform(CpuDeviceMixin, SRTPlatform):
    """Any x86-64 or ARM CPU, with torch's own kernels in place of SGLang's."""

    _enum = PlatformEnum.OOT
    capabilities = PlatformCapabilities()

    def get_default_attention_backend(self) -> str:
        """Return the attention backend that needs no compiled kernel."""
        return "torch_native"

    def get_dispatch_key_name(self) -> str:
        """Return the dispatch key under which layers choose their pure torch method."""
        return "native"

    def is_pin_memory_available(self, device: object = None) -> bool:  # noqa: ARG002
        """Return False: page-locked memory serves copies to a device, and there is none."""
        return False
