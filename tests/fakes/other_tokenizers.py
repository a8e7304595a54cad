"""A tokenizer of the other kind: the tiny checkpoint's is byte-level BPE, LLaVA-1.5's is SentencePiece's BPE."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<unk>", "<s>", "</s>", "<image>")
PIECES = ('{"', '":', '",', "The", "▁The", "▁is", "▁red", "re", "ed", "▁{", "红", "色")


def sentencepiece():
    """As Llama's: `▁` for a space, bytes where there is no piece, and a first space that decoding takes away."""
    singles = [chr(code) for code in range(33, 127)]
    words = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *singles, *PIECES]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
