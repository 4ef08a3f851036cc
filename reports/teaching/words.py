"""The words of the stepper: what each quantity means, what each line does, and which quantities a cell has."""

from common.model.cells import TABLE
from common.model.spec import ModelSpec

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
# In a GRU the two sides of a pre-activation are apart.
OF_GRU = {
    **{f"a_{gate}": f"the input's side of the {GATE_NAMES[gate]}, before its activation" for gate in "rzn"},
    **{f"q_{gate}": f"the state's side of the {GATE_NAMES[gate]}, before its activation" for gate in "rzn"},
    "s": "what the recurrent weights of the candidate multiply",
    "dq_n": "gradient of the state's side of the candidate",
    "ds": "gradient of what the recurrent weights of the candidate multiply",
    "dr": "gradient of the reset gate",
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
    "G1": "The input is multiplied by its weights: its side of all three pre-activations.",
    "G2": "The previous state is multiplied by its weights: its side of the two gates.",
    "G3": "The biases of the input are added.",
    "G4": "The biases of the state are added, for the two gates.",
    "G5": "The reset gate: how much the candidate sees of the state.",
    "G6": "The update gate: how much of the state is kept.",
    "G7": "What the recurrent weights of the candidate multiply: the state as it is.",
    "G8": "The state is multiplied by the recurrent weights of the candidate.",
    "G9": "The inner bias of the candidate is added here, so the reset gate will scale it too.",
    "G10": "The candidate: the input's side, and the state's side as far as the reset gate lets it through.",
    "G11": "The new state: z of the old one, and 1 - z of the candidate. No matrix lies on the path of the old state.",
    "G12": "Back through the update gate. It chooses between the old state and the candidate, hence their difference.",
    "G13": "Back through the candidate.",
    "G14": "The gradient of the state's side of the candidate: the reset gate scales it on the way back too.",
    "G15": "Back through the recurrent weights of the candidate.",
    "G16": "The gradient of the reset gate: its factor is the state's side of the candidate.",
    "G17": "Back through the reset gate.",
    "G18": "This step's part of the gradient of the input weights.",
    "G19": "This step's part of the gradient of the recurrent weights, in the blocks of q and of q_n.",
    "G20": "The gradient of the biases of the input.",
    "G21": "The gradient of the biases of the state; that of the inner bias differs, by the reset gate.",
    "G22": "The gradient of the input.",
    "G23": "The gradient sent back to the previous state, from all its uses. The previous step receives it as dh_next.",
    "V1": "The input and the previous state are multiplied by their weights and added: three pre-activations at once.",
    "V2": "Both biases are added.",
    "V3": "The input gate: how much of the candidate is written.",
    "V4": "The candidate: what could be written.",
    "V5": "The output gate: how much of the cell state is let out.",
    "V6": "The new cell state: all of the old one, plus what is written. There is no forget gate.",
    "V7": "The new hidden state: what the output gate lets through.",
    "V8": "The gradient of the cell state: straight from the later steps, plus what comes through h of this step.",
    "V9": "Back through the input gate.",
    "V10": "Back through the candidate.",
    "V11": "Back through the output gate.",
    "V12": "This step's part of the gradient of the input weights.",
    "V13": "This step's part of the gradient of the recurrent weights.",
    "V14": "Both biases have the same gradient: that of their sum.",
    "V15": "The gradient of the input.",
    "V16": "The gradient sent back to the previous state. The previous step receives it as dh_next.",
    "V17": "The gradient sent back to the previous cell state: all of it, unchanged. It becomes dc_next there.",
    "U1": "A state is used up to twice, by the loss and by the next step; the gradients of both uses are added.",
    "U2": "All steps share the same weights, so this step's part is added to the sum.",
}
# Where the reset gate acts before the product.
RESET_BEFORE = {
    "G7": "What the recurrent weights of the candidate multiply: as much of the state as the reset gate lets through.",
    "G8": "It is multiplied by the recurrent weights of the candidate.",
    "G9": "The second bias of the candidate is added.",
    "G10": "The candidate: both sides, as in an Elman network.",
    "G14": "The gradient of the state's side of the candidate is that of its pre-activation.",
    "G16": "The gradient of the reset gate: its factor is the state.",
    "G21": "The gradient of the biases of the state; here it is that of the biases of the input.",
}
# Layer -> the quantities of its equations, in the order in which the page shows them.
FORWARD = {
    "RNN": ("h_prev", "a", "h"),
    "LSTM": ("h_prev", "c_prev", "a_i", "i", "a_f", "f", "a_g", "g", "a_o", "o", "c", "h"),
    "GRU": ("h_prev", "a_r", "q_r", "r", "a_z", "q_z", "z", "s", "a_n", "q_n", "n", "h"),
    "LSTM1997": ("h_prev", "c_prev", "a_i", "i", "a_g", "g", "a_o", "o", "c", "h"),
}
BACKWARD = {
    "RNN": ("target", "dy", "dh_next", "dh", "da", "dh_prev"),
    "LSTM": (
        *("target", "dy", "dh_next", "dc_next", "dh", "dc"),
        *("da_i", "da_f", "da_g", "da_o", "dh_prev", "dc_prev"),
    ),
    "GRU": ("target", "dy", "dh_next", "dh", "da_z", "da_n", "dq_n", "ds", "dr", "da_r", "dh_prev"),
    "LSTM1997": ("target", "dy", "dh_next", "dc_next", "dh", "dc", "da_i", "da_g", "da_o", "dh_prev", "dc_prev"),
}


def meanings(layer: str) -> dict[str, str]:
    """Quantity -> what it is, in the cell of this layer; of gates and states that it does not have, too."""
    return MEANINGS | (OF_GRU if layer == "GRU" else {})


def says(tag: str, spec: ModelSpec) -> str:
    """What the line with this tag does, in a sentence or two."""
    return SAYS[tag] if spec.reset_after else RESET_BEFORE.get(tag, SAYS[tag])
