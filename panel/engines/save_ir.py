"""A program of its own: write a GGUF file in F16 as OpenVINO IR beside it.

    python save_ir.py FILE.gguf ROPE_THETA HEAD_DIM

convert.py starts it, because openvino-genai prints to standard output and takes a gigabyte, and because the rest of
the conversion can go on meanwhile. It imports nothing of the package, so that it runs by its path alone.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(gguf: Path, theta: float, head_dim: int) -> None:
    """Writes openvino_model.xml and .bin, openvino_tokenizer and openvino_detokenizer into the folder of `gguf`."""
    import openvino_genai

    openvino_genai.LLMPipeline(str(gguf), "CPU", enable_save_ov_model=True)
    mend_frequencies(gguf.with_name("openvino_model.xml"), theta, head_dim)


def mend_frequencies(path: Path, theta: float, head_dim: int) -> None:
    """Put the rotary frequencies back to 32 bits: openvino-genai 2026.4 saves them in 16.

    They are multiplied by the position, so the error grows along the text: without this, log-probabilities differ
    from those of transformers by 0.0001 near the start of a text and by 0.001 (0.01 at most) after 1500 tokens.
    Does nothing where no such constant of 16 bits is found.
    """
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    model = openvino.Core().read_model(path)
    exact = (theta ** (-np.arange(0, head_dim, 2) / head_dim)).astype(np.float32).reshape(1, -1, 1)
    found = [
        node
        for node in model.get_ops()
        if node.get_type_name() == "Constant"
        and node.get_element_type() == openvino.Type.f16
        and tuple(node.get_output_shape(0)) == exact.shape
        and np.allclose(node.data, exact, rtol=1e-3, atol=1e-7)
    ]
    if not found:
        return
    for node in found:
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(ops.constant(exact).output(0))
    mended = path.with_name("mended.xml")
    openvino.save_model(model, mended, compress_to_fp16=False)  # what is in 16 bits already stays so
    del model, found, node, target  # the old .bin is mapped into memory until then
    mended.with_suffix(".bin").replace(path.with_suffix(".bin"))
    mended.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
