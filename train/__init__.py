"""A thin trainer on DeepSpeed: packed, exact, three stages; it reads exported splits only.

    deepspeed --module train.sft --config train/stage1_low_t.toml
    python -m train.plan --config train/stage1_low_t.toml     # what that will do: no GPU needed
    python examples/loss_curves.py runs/stage1_low_t runs/stage2_high_t

config -> data (rows.py renders and encodes a row) -> plan -> sft, whose loop calls model
(attention, loss), batch, checkpoint and watch.
"""
