"""Gradients of a criterion, as fairseq's trainer comes to them."""


def gradients(model, criterion, samples):
    """Those of an update of *samples*: their sum, divided by the sum of the sample sizes; name -> gradient."""
    model.zero_grad()
    total = 0
    for sample in samples:
        loss, sample_size, _ = criterion(model, sample)
        loss.backward()
        total += float(sample_size)
    return {name: weight.grad / total for name, weight in model.named_parameters()}
