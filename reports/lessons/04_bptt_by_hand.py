# %% [markdown]
# # 4. BPTT by hand
#
# **Question.** What is `dh_next`, why do gradients add up over time, and in which line do they vanish?
#
# **Answer.** `dh_next` is one.  Two sentences.  Three.
#
# The loss $\mathcal{L}$ and $dh_t = \partial \mathcal{L} / \partial h_t$:
#
# $$ dh_t = dy_t + da_{t+1} W_{hh} $$

# %%
import numpy as np

from reports.teaching import show

x = np.arange(3.0)
assert x.sum() == 3
show.text(f"The sum is {x.sum():g}, and $h_t$ is `h`.")
show.lines("C1", "C4", "C9", "U1")
show.table("A table", ("a", "b"), [("one", 1), ("two", 2)], numbers=(1,))
show.source("jax_impl/stack.py", "unroll")
show.plot("A curve", x, {"one": x, "two": x**2}, alt="Two curves, up to 4.", x_label="x")
print("printed")
