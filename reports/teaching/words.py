"""The words of the stepper: what each quantity means, what each line does, and which quantities a cell has."""

from common.model.cells import TABLE

ACCUMULATED = ("dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh")
GATE_NAMES = {gate.letter: gate.name for cell in TABLE.values() for gate in cell.gates}
MEANINGS = {
    "x": "input",
    "a": "pre-activation",
    "h": "hidden state",
    "c": "cell state",
    "dh": "gradient of h: the sum of what the loss of this step and the later steps send back",
    "dc_next": "gradient of c that the later steps send back",
    "dc": "gradient of c: through h of this step, and from the later steps",
    "da": "gradient of the pre-activation",
    "dx": "gradient of the input",
    "dh_prev": "gradient sent back to the previous hidden state; the previous step receives it as dh_next",
    "dc_prev": "gradient sent back to the previous cell state; the previous step receives it as dc_next",
    **GATE_NAMES,
    **{f"a_{gate}": f"pre-activation of the {name}" for gate, name in GATE_NAMES.items()},
    **{f"da_{gate}": f"gradient of the pre-activation of the {name}" for gate, name in GATE_NAMES.items()},
    **{f"{name}_step": f"this step's part of the gradient of {name[1:]}" for name in ACCUMULATED},
    **{name: f"gradient of {name[1:]}, accumulated so far on the way back" for name in ACCUMULATED},
}
SAYS = {
    "C1": "The input and the previous state are multiplied by their weights and added.",
    "C2": "Both biases are added.",
    "C3": "tanh (or relu) turns the pre-activation into the new hidden state.",
    "C4": "Back through the nonlinearity: multiply by its slope.",
    "C5": "This step's part of the gradient of the input weights.",
    "C6": "This step's part of the gradient of the recurrent weights.",
    "C7": "Both biases have the same gradient: that of their sum.",
    "C8": "The gradient of the input.",
    "C9": "The gradient sent back to the previous state. The previous step receives it as dh_next.",
    "K1": "The input and the previous state are multiplied by their weights and added: four pre-activations at once.",
    "K2": "Both biases are added.",
    "K3": "The input gate: how much of the candidate is written.",
    "K4": "The forget gate: how much of the cell state is kept.",
    "K5": "The candidate: what could be written.",
    "K6": "The output gate: how much of the cell state is let out.",
    "K7": "The new cell state: what is kept plus what is written. No matrix lies on this path.",
    "K8": "The new hidden state: what the output gate lets through.",
    "K9": "The gradient of the cell state: straight from the later steps, plus what comes through h of this step.",
    "K10": "Back through the input gate.",
    "K11": "Back through the forget gate.",
    "K12": "Back through the candidate.",
    "K13": "Back through the output gate.",
    "K14": "This step's part of the gradient of the input weights.",
    "K15": "This step's part of the gradient of the recurrent weights.",
    "K16": "Both biases have the same gradient: that of their sum.",
    "K17": "The gradient of the input.",
    "K18": "The gradient sent back to the previous state. The previous step receives it as dh_next.",
    "K19": "The gradient sent back to the previous cell state: its product with f. It becomes dc_next there.",
    "U1": "A state is used up to twice, by the loss and by the next step; the gradients of both uses are added.",
    "U2": "All steps share the same weights, so this step's part is added to the sum.",
}
# Layer -> the quantities of its equations, in the order in which the page shows them.
FORWARD = {
    "RNN": ("h_prev", "a", "h"),
    "LSTM": ("h_prev", "c_prev", "a_i", "i", "a_f", "f", "a_g", "g", "a_o", "o", "c", "h"),
}
BACKWARD = {
    "RNN": ("target", "dy", "dh_next", "dh", "da", "dh_prev"),
    "LSTM": (
        *("target", "dy", "dh_next", "dc_next", "dh", "dc"),
        *("da_i", "da_f", "da_g", "da_o", "dh_prev", "dc_prev"),
    ),
}
