"""A program of its own: write a GGUF file in F16 as OpenVINO IR in F32 beside it.

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
    widen(gguf.with_name("openvino_model.xml"), theta, head_dim)


def widen(path: Path, theta: float, head_dim: int) -> None:
    """Write the constants of an IR out in 32 bits, which they are computed in, and the rotary frequencies exactly.

    From a file in F32 the weights are mapped; from one in F16 OpenVINO makes a copy in F32 that stays as long as the
    model (`panel.engines.openvino` says what that saves).

    openvino-genai 2026.4 saves the frequencies in 16 bits. They are multiplied by the position, so the error grows
    along the text: log-probabilities differ from those of transformers by 0.0001 near the start of a text and by 0.001
    (0.01 at most) after 1500 tokens.
    """
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    model = openvino.Core().read_model(path)
    exact = (theta ** (-np.arange(0, head_dim, 2) / head_dim)).astype(np.float32).reshape(1, -1, 1)
    for node in model.get_ops():  # each constant in F16 is followed by its conversion to F32
        source = node.input_value(0).get_node() if node.get_type_name() == "Convert" else None
        if source is None or source.get_type_name() != "Constant" or node.get_element_type() != openvino.Type.f32:
            continue
        values = source.data.astype(np.float32)
        if values.shape == exact.shape and np.allclose(values, exact, rtol=1e-3, atol=1e-7):
            values = exact
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(ops.constant(values).output(0))
    widened = path.with_name("widened.xml")
    openvino.save_model(model, widened, compress_to_fp16=False)
    del model, node, source, target  # the old .bin is mapped into memory until then
    widened.with_suffix(".bin").replace(path.with_suffix(".bin"))
    widened.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
