"""Speech2Text2, the decoder of `facebook/s2t-wav2vec2-large-en-de`, which transformers 5 no longer has."""
