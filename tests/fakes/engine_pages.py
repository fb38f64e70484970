"""Pages of engines as they give them, cut to what profiles read.

vLLM's and TGI's are put together from their documentation (see `ci/engines/vllm.py` and
`tgi.py`); llama-server's were captured from the server that llama-cpp-python 0.3.36 is built
from.
"""

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="org/name"} 3.0
vllm:num_requests_waiting{engine="0",model_name="org/name"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="org/name"} 0.25
vllm:request_success_total{engine="0",finished_reason="stop",model_name="org/name"} 4.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="org/name"} 6.0
vllm:prompt_tokens_total{engine="0",model_name="org/name"} 1280.0
vllm:generation_tokens_total{engine="0",model_name="org/name"} 320.0
vllm:prefix_cache_hits_total{engine="0",model_name="org/name"} 64.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="org/name"} 0.5
vllm:time_to_first_token_seconds_count{engine="0",model_name="org/name"} 10.0
vllm:e2e_request_latency_seconds_sum{engine="0",model_name="org/name"} 4.0
vllm:e2e_request_latency_seconds_count{engine="0",model_name="org/name"} 10.0
"""

TGI = """\
# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 3
# TYPE tgi_queue_size gauge
tgi_queue_size 2
# TYPE tgi_request_success counter
tgi_request_success 10
# TYPE tgi_request_input_length histogram
tgi_request_input_length_bucket{le="+Inf"} 10
tgi_request_input_length_sum 1280
tgi_request_input_length_count 10
tgi_request_generated_tokens_sum 320
tgi_request_generated_tokens_count 10
tgi_request_duration_sum 4.0
tgi_request_duration_count 10
"""

LLAMA_SERVER = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 1216
# TYPE llamacpp:prompt_tokens_cached_total counter
llamacpp:prompt_tokens_cached_total 64
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 320
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 3
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 2
"""
