"""Dense causal attention of PyTorch (SDPA) by cuDNN's kernels and by its flash kernel, and the GEMM and copy ceilings, for tests/bench_cuda
and tests/cuda_targets.py to compare with. Lines: "cudnn|flash HEADS KV_HEADS DIM TOKENS milliseconds"."""
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def median_ms(call, n=3):
    call()
    torch.cuda.synchronize()
    took = []
    for _ in range(n):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        took.append(begin.elapsed_time(end))
    return sorted(took)[n // 2]


def random(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


if __name__ == "__main__":
    torch.manual_seed(0)
    print(f"# {torch.cuda.get_device_name()}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    x, y = random(8192, 8192), random(8192, 8192)
    print(f"# GEMM 8192^3 {2 * 8192**3 / median_ms(lambda: x @ y, 10) / 1e9:.0f} TFLOP/s")
    x, y = random(2**30), random(2**30)
    print(f"# copy {4 * x.numel() / median_ms(lambda: y.copy_(x), 5) / 1e6:.0f} GB/s")
    del x, y
    for name, kernel in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
        for heads, kv_heads, dim in ((32, 8, 128), (32, 8, 64), (64, 8, 128), (28, 4, 128), (16, 8, 256), (64, 4, 128)):
            for tokens in (8192, 16384, 32768, 65536, 131072):
                if heads in (64, 28) and tokens != (65536 if (heads, kv_heads) == (64, 4) else 131072):
                    continue
                if name == "flash" and (heads in (64, 28) or tokens not in (32768, 131072)):
                    continue
                q, k, v = random(1, heads, tokens, dim), random(1, kv_heads, tokens, dim), random(1, kv_heads, tokens, dim)
                with sdpa_kernel(kernel):
                    ms = median_ms(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))
                print(f"{name} {heads} {kv_heads} {dim} {tokens} {ms:.3f}", flush=True)
