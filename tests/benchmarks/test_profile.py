"""What a step's time went into, read off the names of operators and kernels."""

import pytest

from benchmarks.profile import KERNELS, KINDS, OURS_ON_A_CARD, REST, REST_ON_A_CARD, kind_of, kind_of_kernel
from benchmarks.tables.step import of_profile

CONVOLUTION, ATTENTION, LINEAR, COMPILED = KERNELS


# As torch's profiler named them on an H200, shortened.
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize256x64x32", CONVOLUTION),
        ("void cask_plugin__5x_cudnn::xmma__5x_cudnn::init_device_workspace_kernel<...wgrad_indexed", CONVOLUTION),
        ("_ZN17cutlass__5x_cudnn6KernelINS_4conv6kernel23ImplicitGemmConvolution", CONVOLUTION),
        (
            "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, cutlass::bfloat16_t",
            ATTENTION,
        ),
        ("nvjet_sm90_tst_192x128_64x5_1x2_h_bz_coopB_NNT", LINEAR),
        ("void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align2>", LINEAR),
        ("triton_red_fused__to_copy_add_native_dropout_backward_silu_backward_sum_16", COMPILED),
        ("_backward", OURS_ON_A_CARD),
        ("_ahead", REST_ON_A_CARD),
        ("void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_64x64_16x6_nn_align4>", REST_ON_A_CARD),
        ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel<TensorListMetadata<2>", REST_ON_A_CARD),
    ],
)
def test_a_kernel_is_known_by_its_name(name, kind):
    assert kind_of_kernel(name) == kind


def test_an_operator_inside_ours_is_ours():
    assert kind_of("aten::bmm", ["_WinogradBackward"]) == "convolution, backward"
    assert kind_of("aten::bmm") == "attention and linear layers"
    assert kind_of("aten::add") == REST and REST not in KINDS


def test_the_table_tells_milliseconds_and_shares():
    row = {
        "batch_size": 64,
        "gflops_an_image": 28.0,
        "wall": 8.0,
        "milliseconds": {CONVOLUTION: 3.0, REST_ON_A_CARD: 5.0},
    }
    found = {"titles": {"standard": "ours"}, "rows": {"standard": row}, "peak_gflops": 800_000}
    about = {
        "date": "2026-11-27",
        "command": "x",
        "commit": "y",
        "processor": "p",
        "cores": 1,
        "device": "card",
        "torch": "2",
    }
    table = of_profile("On a card, 64 px", found | about | {"bfloat16": True, "python": "3.12"})
    assert f"| {CONVOLUTION} | 3.0 ms, 38 % |" in table
    assert "224,000, 28 %" in table
