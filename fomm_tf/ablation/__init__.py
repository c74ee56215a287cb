"""The paper's ablation (Table 1) and its comparison with zeroth order (Table 3), trained and judged by one command.

    python -m fomm_tf.ablation --data data/faces --steps 3000 --seeds 0 1 2 --out runs/ablation

Convention:
  * a variant is the base recipe, which is "Full", with the keys in which `configs/ablation/VARIANT.yaml` differs from
    `configs/ablation/full.yaml`, and with nothing else changed;
  * a run is a variant and a seed. It is an ordinary run folder, OUT/VARIANT-seedS, that `fomm_tf.training.loop` trains
    in a process of its own, as train.py does, so that nothing is left over from the run before;
  * what is judged is the last checkpoint of a run, not the best on the test clips;
  * the zeroth-order model, Full with `model.jacobian` false, is what the paper calls "Pyr.+O": the same runs stand for
    both.

`variants` makes the configs, `material` finds or draws the data, `process` starts a run, `work` is what happens in its
process, `numbers` reads what the evaluations found, `report` tells it. TensorFlow is loaded by the runs alone.
"""
