"""Images in, vectors out: sources, decoding, resizing, backbones, engines and the pipeline through them."""
