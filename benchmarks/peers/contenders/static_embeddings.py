"""model2vec: the teacher's encoder distilled to one vector a token, and a small classifier trained on their means."""

from pathlib import Path

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:
    """As its guide on training: distil, fit with early stopping on the validation texts, keep the light pipeline."""
    from model2vec.distill import distill_from_model
    from model2vec.train import StaticModelForClassification
    from transformers import AutoModel, AutoTokenizer

    encoder, tokenizer = AutoModel.from_pretrained(teacher), AutoTokenizer.from_pretrained(teacher)
    static = distill_from_model(encoder, tokenizer)
    classifier = StaticModelForClassification.from_static_model(model=static)
    (texts, labels), (held_out, their_labels) = shared.examples(data, "train"), shared.examples(data, "validation")
    classifier.fit(texts, labels, X_val=held_out, y_val=their_labels)
    classifier.to_pipeline().save_pretrained(str(out))


def load(folder: Path, threads: int) -> shared.Answer:  # noqa: ARG001
    """Without PyTorch."""
    from model2vec.inference import StaticModelPipeline

    pipeline = StaticModelPipeline.from_pretrained(str(folder))
    return lambda text: str(pipeline.predict([text])[0])
