"""Run by MMSA's own Python: what its MISA and Self-MM make of given arrays, written as arrays.

``python mmsa_bert.py data.npz arguments.json out.npz``: per system its weights at the start, its outputs in eval mode,
the gradients of the first batch, its weights after epochs of its own trainer, and the labels that it made for itself.
"""

import json
import sys

import numpy as np
import torch
from MMSA.models.AMIO import AMIO
from MMSA.trains import ATIO
from torch import nn

MAPS = {"M": "fusion", "T": "text", "A": "audio", "V": "vision"}
FAR = 1e9  # a validation loss that never is the best


class Arguments(dict):
    """A dict whose items are attributes, as MMSA wants its arguments."""

    __getattr__ = dict.__getitem__


def batches(data, size):
    """The batches as MMSA's loader gives them, in order."""
    arrays = {name: torch.from_numpy(data[name]) for name in data.files}
    n = len(arrays["M"])
    for start in range(0, n, size):
        part = {name: values[start : start + size] for name, values in arrays.items()}
        rows = torch.arange(start, min(start + size, n))
        yield {
            **{name: part[name] for name in ("text", "audio", "vision", "audio_lengths", "vision_lengths")},
            "labels": {"M": part["M"][:, None]},
            "index": rows,
            "id": [str(int(row)) for row in rows],
        }


def doubled(value):
    if isinstance(value, dict):
        return {key: doubled(one) for key, one in value.items()}
    return value.double() if torch.is_tensor(value) and value.is_floating_point() else value


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def inputs_of(name, batch):
    if name == "misa":
        return batch["text"], batch["audio"], batch["vision"]
    return batch["text"], (batch["audio"], batch["audio_lengths"]), (batch["vision"], batch["vision_lengths"])


def loss_of(name, trainer, model, outputs, batch, data):
    if name == "misa":
        trainer.model = model
        parts = trainer.get_diff_loss(), trainer.get_cmd_loss(), trainer.get_recon_loss()
        weights = trainer.args.diff_weight, trainer.args.sim_weight, trainer.args.recon_weight
        task = trainer.criterion(outputs["M"], batch["labels"]["M"])
        return task + sum(weight * part for weight, part in zip(weights, parts, strict=True))
    for task, mode in MAPS.items():
        trainer.label_map[mode] = torch.from_numpy(data[f"own_{task}" if task != "M" else "M"]).clone()
    index = batch["index"]
    return sum(
        trainer.weighted_loss(outputs[task], trainer.label_map[mode][index], indexes=index, mode=mode)
        for task, mode in MAPS.items()
    )


def twin_of(model, args):
    twin = AMIO(args).to(next(model.parameters()).dtype)
    twin.load_state_dict(model.state_dict())
    without_dropout(twin)
    return twin.train()


def state(model):
    return dict(model.Model.state_dict(keep_vars=True))


def measure(name, arguments, data, folder):
    torch.manual_seed(0)
    args = Arguments(arguments, model_name=name, model_save_path=f"{folder}.{name}", device="cpu")
    model = AMIO(args)
    without_dropout(model)
    with torch.no_grad():  # small weights, and biases of 0, would hide everything
        for key, parameter in model.named_parameters():
            if "text_model" not in key and "bertmodel" not in key:
                parameter.add_(0.1 * torch.randn_like(parameter))
    found = {f"start/{key}": value.detach().clone() for key, value in state(model).items()}
    loaded = list(batches(data, args.batch_size))
    outputs = model.eval()(*inputs_of(name, loaded[0]))
    found |= {f"output/{key}": value.detach().clone() for key, value in outputs.items()}
    twin = twin_of(model, args)
    trainer = ATIO().getTrain(args)
    loss = loss_of(name, trainer, twin, twin(*inputs_of(name, loaded[0])), loaded[0], data)
    loss.backward()
    found["loss"] = loss
    found |= {f"gradient/{key}": value.grad for key, value in state(twin).items() if value.grad is not None}
    torch.set_default_dtype(torch.float64)  # Adam would scale rounding up where a gradient is almost 0
    model.double()
    loaded = [{key: doubled(value) for key, value in batch.items()} for batch in loaded]
    for n_epochs in args.epochs:
        one, trainer = twin_of(model, args), ATIO().getTrain(Arguments(args, early_stop=n_epochs))
        labels = []

        def validate(*_, trainer=trainer, labels=labels, **__):
            if name == "self_mm":
                labels.append({task: trainer.label_map[mode].clone() for task, mode in MAPS.items()})
            return {"Loss": FAR}

        trainer.do_test = validate
        trainer.do_train(one, {"train": loaded, "valid": loaded, "test": loaded})
        found |= {f"end{n_epochs}/{key}": value for key, value in state(one).items()}
        for epoch, by_task in enumerate(labels, 1):
            found |= {f"labels{n_epochs}/{epoch}/{task}": values for task, values in by_task.items()}
    torch.set_default_dtype(torch.float32)
    return {f"{name}/{key}": value.detach().numpy().copy() for key, value in found.items()}


def main():
    data_file, arguments_file, out = sys.argv[1:]
    with open(arguments_file, encoding="utf-8") as file:
        systems = json.load(file)
    with np.load(data_file, allow_pickle=False) as data:
        found = {}
        for name, arguments in systems.items():
            found |= measure(name, arguments, data, out)
    np.savez(out, **found)


main()
