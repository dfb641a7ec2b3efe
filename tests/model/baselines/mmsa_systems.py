"""Run by MMSA's own Python: what its modules and trainers make of given arrays, written as arrays.

``python mmsa_systems.py data.npz arguments.json out.npz``: per system its weights at the start, its outputs in eval
mode, the gradients of the first batch, and its weights after one epoch of its own trainer, which here is three steps.
"""

import contextlib
import copy
import json
import sys

import numpy as np
import torch
from MMSA.models.AMIO import AMIO
from MMSA.trains import ATIO
from MMSA.trains.singleTask import MULT

FIRST = 8  # clips of the batch whose outputs and gradients are compared


ADAM = torch.optim.Adam


class Arguments(dict):
    """A dict whose items are attributes, as MMSA wants its arguments."""

    __getattr__ = dict.__getitem__


def plateau(*arguments, verbose, **named):
    """The schedule that MulT's trainer wants, whose `verbose` torch no longer has."""
    return torch.optim.lr_scheduler.ReduceLROnPlateau(*arguments, **named)


class Adam(ADAM):
    """Adam with another epsilon: the default divides a gradient that is mere rounding by its own size."""

    eps = 0.0

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, eps=self.eps, **named)


def batches(data, normalized, size):
    """The batches as MMSA's loader gives them."""
    arrays = {name: torch.from_numpy(data[name]) for name in data.files}
    if normalized:
        arrays |= {name: arrays[name].mean(dim=1, keepdim=True) for name in ("audio", "vision")}
    for start in range(0, len(arrays["M"]), size):
        part = {name: values[start : start + size] for name, values in arrays.items()}
        yield {
            **{name: part[name] for name in ("text", "audio", "vision")},
            "labels": {task: part[task][:, None] for task in "MTAV"},
        }


def state(module):
    """Everything that the module computes with: some of Graph-MFN's networks lie in a dict that torch does not see."""
    hidden = getattr(getattr(module, "graph_mfn", None), "networks", {})
    found = dict(module.state_dict(keep_vars=True))
    for key, net in hidden.items():
        prefix = "networks." + "".join(map(str, key))
        found |= {f"{prefix}.{name}": value for name, value in net.state_dict(keep_vars=True).items()}
    return found


def run(model, batch, args):
    """What a module predicts of a batch, by task, and its loss."""
    inputs = batch["text"], batch["audio"], batch["vision"]
    if model.Model.__class__.__name__ == "MCTN":
        for part in (model.Model.seq2seq1, model.Model.seq2seq2):
            part.device = "cpu"  # it is fixed to cuda
        loss, prediction = model(*inputs, batch["labels"]["M"], None)
        return {"M": prediction}, loss
    outputs = model(*inputs)
    tasks = [task for task in "MTAV" if task in outputs]
    weights = {task: args[task] if len(tasks) > 1 else 1.0 for task in tasks}
    return outputs, sum(weights[task] * (outputs[task] - batch["labels"][task]).abs().mean() for task in tasks)


def measure(name, arguments, data, folder):
    torch.manual_seed(0)
    args = Arguments(arguments, model_name=name, model_save_path=f"{folder}.{name}", device="cpu")
    normalized = args["need_normalized"]
    torch.manual_seed(1)
    model = AMIO(args)
    with (
        torch.no_grad()
    ):  # BatchNorm's weights and the biases that start at 0 or 1 would hide a wrong name, small weights everything
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    found = {f"start/{key}": value.detach().clone() for key, value in state(model.Model).items()}
    first = next(batches(data, normalized, FIRST))
    twin = copy.deepcopy(model).train()  # before a forward pass, whose states some modules keep
    model.eval()
    outputs, _ = run(model, first, args)
    found |= {f"output/{task}": outputs[task] for task in "MTAV" if task in outputs}
    _, loss = run(twin, first, args)
    loss.backward()
    found |= {f"gradient/{key}": p.grad for key, p in state(twin.Model).items() if p.grad is not None}
    Adam.eps = args["adam_eps"]
    trainer = ATIO().getTrain(args)
    size = args.get("batch_size", FIRST)
    loaders = {"train": list(batches(data, normalized, size)), "valid": [first], "test": [first]}
    with contextlib.suppress(UnboundLocalError):  # of three trainers, in what they print after the epoch's last step
        trainer.do_train(model, loaders)
    found |= {f"end/{key}": value for key, value in state(model.Model).items()}
    return {f"{name}/{key}": value.detach().numpy().copy() for key, value in found.items()}


def main():
    sys.modules[MULT.__module__].ReduceLROnPlateau = plateau
    torch.optim.Adam = Adam
    data_file, arguments_file, out = sys.argv[1:]
    with open(arguments_file, encoding="utf-8") as file:
        systems = json.load(file)
    with np.load(data_file, allow_pickle=False) as data:
        found = {}
        for name, arguments in systems.items():
            found |= measure(name, arguments, data, out)
    np.savez(out, **found)


main()
