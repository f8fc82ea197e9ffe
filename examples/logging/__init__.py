"""Routing in TensorBoard, from a plain PyTorch loop (`plain`) and from Lightning (`lightning_callback`).

Both train on a small synthetic task (`task`): `python -m examples.logging.plain`, then `tensorboard --logdir runs`.
"""
