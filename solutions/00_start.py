# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Start here
#
# > **Interviewer:** "This layer is declared as dropout 0.2. Does it drop 20 % of the units, or keep
# > 20 % of them?"
#
# 10 minutes. Afterwards you can **run** a check and read its verdict, and **say** what *p* means.
#
# Run each cell with Shift+Enter, from top to bottom.

# %%
import torch
from torch import nn

from dropout_course import check, hint, progress, reset, solution

_ = torch.manual_seed(0)

# %% [markdown]
# ## How a lesson works
#
# 1. **Predict.** A cell asks you to choose. Write your answer before you run on.
# 2. **Run.** The next cell lets torch settle it.
# 3. **Write.** Fill the cell with `# YOUR CODE HERE`. Its docstring is the whole contract.
# 4. **Check.** The cell below it tests what you wrote, in less than a second.
# 5. **Say it.** Every lesson ends with the answer in 60 seconds, in your words.
#
# Start with a prediction.

# %%
# nn.Dropout(p=0.2) receives a million ones. How many of them come out as zero?
#   "a"  about 200,000        "b"  about 800,000
my_guess = "?"

# %%
ones = torch.ones(1_000_000)
out = nn.Dropout(p=0.2)(ones)
print(f"your guess: {my_guess}")
print(f"dropped:    {(out == 0).double().mean():.0%}")

# %% [markdown]
# ## What *p* means
#
# In PyTorch and Keras *p* is the probability of **dropping** an element. In the 2014 paper, and in the
# article this course is built on, *p* is the probability of **keeping** it.
#
# This course writes `p` for dropping and `keep_prob` for keeping, always:
#
# $$\text{keep\_prob} = 1 - p, \qquad 1 - 0.2 = 0.8$$
#
# Your first exercise is this line. Leave the stub as it is for now and run the check below it.


# %% nbgrader={"grade": false, "grade_id": "keep_probability", "locked": false, "schema_version": 3, "solution": true, "task": false}
def keep_probability(p: float) -> float:
    """Return the probability that dropout keeps an element, as a float.

    p: the probability that it drops one, from 0 to 1, both included.

    keep_probability(0.2) is 0.8
    """
    ### BEGIN SOLUTION
    return 1.0 - p
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "keep_probability-check", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check(keep_probability)

# %% [markdown]
# ## When you are stuck
#
# A check that is not passed stops "Run All" at its cell. That is intended: it is the next thing to do.
#
# `hint` gives the next of three levels: a question, then the algebra, then the functions to use.
# Each of these also takes the name as text, `hint("keep_probability")`, for a stub that does not run yet.

# %% tags=["nbval-ignore-output"]
hint(keep_probability)

# %% [markdown]
# `solution` shows a model solution. If you have not tried the exercise yet, it asks you to call it
# twice. `reset` gives you the empty stub in a new cell; nothing that you wrote is lost.
#
# Remove a `#` below and run the cell.

# %%
# solution(keep_probability)
# reset(keep_probability)

# %% [markdown]
# ## Where you stand
#
# Now fill the stub, run it, and run its check again. Then look at your record. It survives a restart of
# the kernel, and its last line says what to do next.

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## Say it in 60 seconds
#
# Read the interviewer's question at the top again. Answer it aloud, then write your answer in the next
# cell (double-click it). An instructor grades it by hand; alone, compare it with the answer to unfold.

# %% [markdown] nbgrader={"grade": true, "grade_id": "00_start-sixty-seconds", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# In PyTorch and Keras the number is the probability of dropping, so `nn.Dropout(p=0.2)` zeroes about
# 20 % of the elements while training and keeps about 80 %. In the 2014 paper p is the probability of
# keeping. I would ask which convention the code follows, or pass a million ones through the layer and
# count the zeros.

# %% [markdown]
# <details><summary>A model answer, key points and red flags</summary>
#
# "It drops 20 %, if this is PyTorch or Keras. The 2014 paper's *p* is the keep probability, so with
# older code I count the zeros."
#
# **Key points:** both conventions, who uses which, a measurement that decides.
#
# **Red flags:** naming one convention as the only one; believing that 0.5 lets you tell them apart.
#
# </details>

# %% [markdown]
# ## Sources, and what comes next
#
# * Srivastava et al. 2014, *Dropout*, JMLR 15, section 4: there *p* is the probability of keeping.
# * [`torch.nn.Dropout`](https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html)
#
# The whole course goes in order. The express path fits an evening: **01, 02, 03, 05, 11**.
#
# Next: **01 · The question**, where the interviewer asks what dropout does when the model predicts.
