"""Optimizers with their arguments: written by `python -m tools.stubs`, not by hand."""

from math import inf
from typing import ClassVar, Literal

import torch.optim
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from betaplane import rules
from betaplane.optim.torch_compatible import TorchCompatible
from betaplane.rules import Rule
from betaplane.optim.rule_optimizer import RuleOptimizer as RuleOptimizer
from betaplane.optim.scheduler import Schedule as Schedule
from betaplane.optim.from_torch import from_torch as from_torch
from betaplane.optim.from_rule import host_optimizer as host_optimizer
from betaplane.optim.curvature import hutchinson as hutchinson
from betaplane.optim.rule_optimizer import optimizer_class as optimizer_class
from betaplane.optim.curvature import sampled_labels as sampled_labels

__all__ = [
    "ADOPT",
    "AMSGrad",
    "AdEMAMix",
    "AdaBelief",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamAtan2",
    "AdamC",
    "AdamD",
    "AdamMini",
    "AdamW",
    "Adamax",
    "Adan",
    "CautiousAdamW",
    "LaProp",
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
    "RuleOptimizer",
    "SGD",
    "Schedule",
    "Sophia",
    "StableAdamW",
    "Yogi",
    "from_torch",
    "host_optimizer",
    "hutchinson",
    "optimizer_class",
    "sampled_labels",
]

class SGD(TorchCompatible, torch.optim.SGD):
    r"""torch.optim.SGD with checks, its fused kernel by default, and the rule's variants as options.

    SGD with momentum as in torch: the buffer is a sum, and dampening skips the first gradient.

    ```
    g = g + weight_decay x
    d = dampening, but 0 at t = 1 and if momentum = 0
    b = momentum b + (1 - d) g
    x = x - lr b                    (nesterov: x - lr (g + momentum b))
    ```

    For a constant gradient, b converges to g / (1 - momentum). In the averaged form b = momentum b
    + (1 - momentum) g, the same speed requires an lr larger by 1 / (1 - momentum).

    What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        momentum: Decay rate of the buffer b; 0 keeps no buffer, and below 1 the buffer stays
            bounded. In [0, inf). Default: 0.
        dampening: Share of each gradient after the first that does not enter the buffer; any
            number, as in torch, and usually in [0, 1]. In (-inf, inf). Default: 0.
        weight_decay: Coefficient of the L2 penalty, added to the gradient as weight_decay x. In
            [0, inf). Default: 0.
        nesterov: Whether the step looks ahead along the buffer: g + momentum b in place of b.
            Default: False.
        maximize: Whether to step up the gradient instead of down. Default: False.
        foreach: Whether torch's loops over tensors are batched. None lets torch or the rule
            choose. Default: None.
        differentiable: Whether autograd can differentiate through the step, which is slower.
            Default: False.
        fused: Whether to use torch's fused kernel. None uses it if there is one and it is safe.
            Default: None.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Source: B. Polyak, 1964, USSR Comput. Math. Math. Phys. 4(5); I. Sutskever, J. Martens, G. Dahl,
    G. Hinton, 2013, ICML; the form is that of torch.optim.SGD.
    """

    rule: ClassVar[type[Rule]] = rules.SGD

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class Adagrad(TorchCompatible, torch.optim.Adagrad):
    r"""torch.optim.Adagrad with checks, its fused kernel by default, and the rule's variants as
        options.
    

    Adagrad with a decaying learning rate and L2 weight decay; eps outside or inside the root.

    ```
    g    = g + weight_decay x
    v    = v + g^2                  (v_0 = initial_accumulator)
    lr_t = lr / (1 + (t - 1) lr_decay)
    x    = x - lr_t g / (sqrt(v) + eps)          (eps_inside: lr_t g / sqrt(v + eps))
    ```

    optax and Keras put eps inside the root and start v at 0.1: `Adagrad(eps_inside=True, eps=1e-7,
    initial_accumulator=0.1)`.

    What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.01.
        lr_decay: Decay of the learning rate per step: lr / (1 + (t - 1) lr_decay). In [0, inf).
            Default: 0.
        weight_decay: Coefficient of the L2 penalty, added to the gradient as weight_decay x. In
            [0, inf). Default: 0.
        initial_accumulator_value: Value of v before the first step, in squared gradient units;
            larger makes the first steps smaller. In [0, inf). Default: 0.
        eps: Added to the root of v, in gradient units; with eps_inside=True to v, in squared
            gradient units. In [0, inf). Default: 1e-10.
        foreach: Whether torch's loops over tensors are batched. None lets torch or the rule
            choose. Default: None.
        maximize: Whether to step up the gradient instead of down. Default: False.
        differentiable: Whether autograd can differentiate through the step, which is slower.
            Default: False.
        fused: Whether to use torch's fused kernel. None uses it if there is one and it is safe.
            Default: None.
        eps_inside: Whether eps is inside the root (optax, Keras) or outside (torch). Default:
            False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Source: J. Duchi, E. Hazan, Y. Singer, 2011, JMLR 12:2121-2159, Figure 1 (diagonal); the form is
    that of torch.optim.Adagrad; eps_inside=True: optax.adagrad (scale_by_rss) and
    keras.optimizers.Adagrad.
    """

    rule: ClassVar[type[Rule]] = rules.Adagrad

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.01,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        eps_inside: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class RMSprop(TorchCompatible, torch.optim.RMSprop):
    r"""torch.optim.RMSprop with checks, and the rule's variants as options.

    RMSprop with the options of torch (momentum, centering, L2 decay), TensorFlow and optax.

    ```
    g     = g + weight_decay x
    v     = alpha v + (1 - alpha) g^2        (v_0 = initial_accumulator)
    g_bar = alpha g_bar + (1 - alpha) g
    var   = v            (centered: max(v - g_bar^2, 0), since rounding can make it negative)
    u     = g / (sqrt(var) + eps)            (eps_inside: g / sqrt(var + eps))
    b     = momentum b + u
    x     = x - lr b
    ```

    There is no bias correction: the first step is 1 / sqrt(1 - alpha) times lr, 10 lr at the
    defaults. TensorFlow's RMSProp, which trained Inception and EfficientNet, starts v at 1 instead,
    so that the first steps are small: `RMSprop(initial_accumulator=1.0, eps_inside=True)`. Its
    momentum sums lr u, which differs only while lr changes.

    What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.01.
        alpha: Decay rate of v, the moving average of squared gradients; v is an average if
            alpha is below 1. In [0, inf). Default: 0.99.
        eps: Added to the root of the variance, in gradient units; with eps_inside=True to the
            variance, in squared gradient units. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of the L2 penalty, added to the gradient as weight_decay x. In
            [0, inf). Default: 0.
        momentum: Decay rate of the buffer b of updates; 0 keeps no buffer, and below 1 the
            buffer stays bounded. In [0, inf). Default: 0.
        centered: Whether the mean gradient is subtracted, so that the variance and not the
            second moment is under the root. Default: False.
        capturable: Whether a step can be captured in a CUDA graph. Default: False.
        foreach: Whether torch's loops over tensors are batched. None lets torch or the rule
            choose. Default: None.
        maximize: Whether to step up the gradient instead of down. Default: False.
        differentiable: Whether autograd can differentiate through the step, which is slower.
            Default: False.
        eps_inside: Whether eps is inside the root (TensorFlow) or outside (torch). Default:
            False.
        initial_accumulator: Value of v before the first step, in squared gradient units; 1 in
            TensorFlow. In [0, inf). Default: 0.0.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Source: T. Tieleman, G. Hinton, 2012, Coursera, Neural Networks for Machine Learning, lecture
    6e; centering: A. Graves, 2013, arXiv:1308.0850, equations 38-41; the form is that of
    torch.optim.RMSprop; initial_accumulator=1.0: tf.compat.v1.train.RMSPropOptimizer, whose
    slot "rms" is made of ones, and timm's RMSpropTF.
    """

    rule: ClassVar[type[Rule]] = rules.RMSprop

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-08,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        eps_inside: bool = False,
        initial_accumulator: float = 0.0,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class Adam(TorchCompatible, torch.optim.Adam):
    r"""torch.optim.Adam with checks, its fused kernel by default, and the rule's variants as
        options.
    

    Adam as in torch: eps after both bias corrections, weight decay as an L2 term in g.

    ```
    g     = g + weight_decay x
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.
        amsgrad: Whether the denominator takes the running maximum of v, as in AMSGrad. Default:
            False.
        foreach: Whether torch's loops over tensors are batched. None lets torch or the rule
            choose. Default: None.
        maximize: Whether to step up the gradient instead of down. Default: False.
        capturable: Whether a step can be captured in a CUDA graph. Default: False.
        differentiable: Whether autograd can differentiate through the step, which is slower.
            Default: False.
        fused: Whether to use torch's fused kernel. None uses it if there is one and it is safe.
            Default: None.
        decoupled_weight_decay: Whether weight decay shrinks x by lr weight_decay, as in AdamW,
            instead of an L2 term in the gradient. Default: False.
        decay: How weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by
            lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of 'l2',
            'decoupled', 'independent'. Default: 'l2'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1. `beta1 >= sqrt(beta2)` is allowed
    here; the ratio |m| / sqrt(v) is then unbounded (Reddi et al. 2018, arXiv:1904.09237).
    Below, |x' - x| <= lr B with the supremum B = (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 /
    beta2)), reached as g grows like (beta2 / beta1)^t; the paper's section 2.1 gives 3.16 for
    the default betas, which one spike among zeros reaches and other gradients exceed.
    """

    rule: ClassVar[type[Rule]] = rules.Adam

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        decay: Literal['l2', 'decoupled', 'independent'] = 'l2',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class AdamW(Adam, torch.optim.AdamW):
    r"""torch.optim.AdamW with checks, its fused kernel by default, and the rule's variants as
        options.
    

    AdamW: Adam after x has shrunk by 1 - lr weight_decay; the decay never enters m or v.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    The paper multiplies its decay by the schedule alone, without the peak learning rate:
    weight_decay here is the paper's divided by the peak lr.

    What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.01.
        amsgrad: Whether the denominator takes the running maximum of v, as in AMSGrad. Default:
            False.
        maximize: Whether to step up the gradient instead of down. Default: False.
        foreach: Whether torch's loops over tensors are batched. None lets torch or the rule
            choose. Default: None.
        capturable: Whether a step can be captured in a CUDA graph. Default: False.
        differentiable: Whether autograd can differentiate through the step, which is slower.
            Default: False.
        fused: Whether to use torch's fused kernel. None uses it if there is one and it is safe.
            Default: None.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Source: I. Loshchilov, F. Hutter, 2019, arXiv:1711.05101, Algorithm 2; the form is that of
    torch.optim.AdamW.
    """

    rule: ClassVar[type[Rule]] = rules.AdamW

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class AMSGrad(RuleOptimizer):
    r"""AMSGrad: Adam with the running maximum of v in the denominator, and L2 weight decay.

    ```
    g     = g + weight_decay x
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2

    correction="after" (torch)     correction="before" (optax)              debias="none" (paper)
    v_max = max(v_max, v)          v_max = max(v_max, v / (1 - beta2^t))    v_max = max(v_max, v)
    v_hat = v_max / (1 - beta2^t)  v_hat = v_max                            v_hat = v_max
    m_hat = m / (1 - beta1^t)      m_hat = m / (1 - beta1^t)                m_hat = m

    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    The three are not equal. In torch's, 1 - beta2^t grows while v_max is constant, so the
    denominator can shrink in early steps, which AMSGrad was designed to prevent. The paper's has no
    eps either, and its first step is (1 - beta1) / sqrt(1 - beta2) times lr: 3.16 lr at the
    defaults.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        correction: Whether v is debiased "after" the maximum is taken, as in torch, or
            "before", as in optax. One of 'after', 'before'. Default: 'after'.
        decay: How weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by
            lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of 'l2',
            'decoupled', 'independent'. Default: 'l2'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: S. Reddi, S. Kale, S. Kumar, 2018, arXiv:1904.09237, Algorithm 2.
    """

    rule: ClassVar[type[Rule]] = rules.AMSGrad

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        correction: Literal['after', 'before'] = 'after',
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'l2',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class Lion(RuleOptimizer):
    r"""Lion: the sign of a mixture of gradient and momentum; the momentum has a longer memory.

    ```
    x = x (1 - lr weight_decay)
    c = beta1 m + (1 - beta1) g          with the m of the step before
    x = x - lr sign(c)                   sign(0) = 0
    m = beta2 m + (1 - beta2) g
    ```

    Every element moves by lr, whatever the gradient. Take an lr 3 to 10 times smaller than Adam's,
    and a weight_decay as many times larger.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.0001.
        betas: The tuple (beta1, beta2). beta1: Weight of m, against the new gradient, in the
            direction whose sign is the update. In [0, 1). beta2: Decay rate of m, the moving
            average of gradients, over 1 / (1 - beta2) steps. In [0, 1). Default: (0.9, 0.99).
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: X. Chen et al., 2023, arXiv:2302.06675, Algorithm 2.
    """

    rule: ClassVar[type[Rule]] = rules.Lion

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.0001,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class Sophia(RuleOptimizer):
    r"""Sophia: momentum over an estimate of the Hessian's diagonal, each element clipped to lr.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    m_hat = m                                       debias="first": m / (1 - beta1^t)
    denominator = max(gamma h, eps)                 floor="sum": gamma max(h, 0) + eps
    x     = x - lr clip(m_hat / denominator, -1, 1)

    every k steps, k = 10 in the paper, `curvature(s, h_hat)`:
    h     = beta2 h + (1 - beta2) h_hat
    ```

    The estimate h_hat is computed outside of the rule: either (H) with one product with the
    Hessian, for u normal or of random signs, or (G) from the gradient g_hat of the mean loss of a
    batch of B whose labels are drawn from the model's own predictions.

    ```
    H:   h_hat = u (Hessian u)
    G:   h_hat = B g_hat^2
    ```

    Before the first estimate h = 0, and every element moves by lr. gamma is right if a tenth to a
    half of the elements are not clipped.

    Variants: the authors' code for G has no B in h and has it in gamma, with floor="sum". Their
    code for H and optax have debias="first".

    The rule is not scale-free: if an element is not clipped, m and h scale differently with the
    gradient.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.0001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of h, the moving average of curvature estimates, per estimate. In [0, 1).
            Default: (0.96, 0.99).
        gamma: Scale of the curvature in the denominator, in units of x; larger clips fewer
            elements, and 0 gives signed momentum. In [0, inf). Default: 0.01.
        eps: Least value of the denominator, in gradient units. In [0, inf). Default: 1e-12.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.1.
        floor: Whether the denominator is "max": max(gamma h, eps), or "sum": gamma max(h, 0) +
            eps. One of 'max', 'sum'. Default: 'max'.
        debias: Whether m is debiased: "none", as in the paper, or "first", as in optax. One of
            'none', 'first'. Default: 'none'.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: H. Liu, Z. Li, D. Hall, P. Liang, T. Ma, 2024, arXiv:2305.14342, Algorithms 1 to 3.
    """

    rule: ClassVar[type[Rule]] = rules.Sophia

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.0001,
        betas: tuple[float, float] = (0.96, 0.99),
        gamma: float = 0.01,
        eps: float = 1e-12,
        weight_decay: float = 0.1,
        floor: Literal['max', 'sum'] = 'max',
        debias: Literal['none', 'first'] = 'none',
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class AdamMini(RuleOptimizer):
    r"""Adam-mini: AdamW with one second moment per block, the mean over the block.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v_b   = beta2 v_b + (1 - beta2) mean of g^2 over block b
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)       with the v_hat of x's block
    ```

    blocks="rows": x[i], one block per output neuron of a linear or convolutional layer; of a
    vector, its elements. rows = n: n neighboring rows are one block, such as the rows of a head in
    the query and key matrices. blocks="tensor": x is one block. blocks="element": AdamW, for
    embeddings and the output layer. The paper takes rows for most layers. Groups must specify which
    tensor is which, since a rule has access to shapes only.

    The laws below are those of a vector with blocks="rows". In a block of n elements, the RMS of
    the update is at most AdamW's bound, and one element's update is at most sqrt(n) times that. It
    is sqrt(n) lr at a first step with one nonzero gradient.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of the mean squared gradient of each block. In [0, 1).
            Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        blocks: Elements that share one second moment: the "rows" of a matrix, the whole
            "tensor", or none ("element", which is AdamW). One of 'rows', 'tensor', 'element'.
            Default: 'rows'.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        rows: Number of neighboring rows per block, a whole number; read if blocks="rows". In
            [1, inf). Default: 1.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: Y. Zhang et al., 2024, arXiv:2406.16793, Algorithm 1.
    """

    rule: ClassVar[type[Rule]] = rules.AdamMini

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        blocks: Literal['rows', 'tensor', 'element'] = 'rows',
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        rows: float = 1,
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class AdEMAMix(RuleOptimizer):
    r"""AdEMAMix: AdamW whose first moment is mixed with a much slower average of gradients.

    ```
    tau     = min(t / T, 1)          T = warmup; tau = 1 if T = 0
    alpha_t = tau alpha
    beta3_t = exp(1 / ((1 - tau) / ln(beta1) + tau / ln(beta3)))       at most beta3

    x       = x (1 - lr weight_decay)
    m1      = beta1 m1 + (1 - beta1) g
    m2      = beta3_t m2 + (1 - beta3_t) g
    v       = beta2 v + (1 - beta2) g^2
    m1_hat  = m1 / (1 - beta1^t)
    v_hat   = v / (1 - beta2^t)
    x       = x - lr (m1_hat + alpha_t m2) / (sqrt(v_hat) + eps)
    ```

    beta3_t makes the half-life of the slow average grow linearly from that of beta1 to that of
    beta3. The paper has T at the number of all steps. m2 is never debiased. alpha is between 4 and
    10 in the paper, 2 in the authors' code, 5 in optax. Other libraries count the decay as a part
    of the update, which is equivalent.

    The first step at the defaults is 1 + alpha (1 - beta3) = 1.0005 lr. There is no bound: since
    beta3^2 > beta2, |m2| / sqrt(v) grows without limit as gradients decay exponentially, as in Adam
    with beta1 > sqrt(beta2).

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2, beta3). beta1: Decay rate of m1, the fast moving average
            of gradients. In [0, 1). beta2: Decay rate of v, the moving average of squared
            gradients, over 1 / (1 - beta2) steps. In [0, 1). beta3: Decay rate of m2, the slow
            moving average of gradients, after warmup. In [0, 1). Default: (0.9, 0.999, 0.9999).
        alpha: Weight of the slow average in the update; 4 to 10 in the paper. In [0, inf).
            Default: 5.0.
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        warmup: Number of steps T until alpha and beta3 have their full values; the paper takes
            the length of the run, 0 skips the warmup. In [0, inf). Default: 0.0.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: M. Pagliardini, P. Ablin, D. Grangier, 2024, arXiv:2409.03137, Algorithm 1.
    """

    rule: ClassVar[type[Rule]] = rules.AdEMAMix

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        alpha: float = 5.0,
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        warmup: float = 0.0,
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class Adafactor(TorchCompatible, torch.optim.Adafactor):
    r"""torch.optim.Adafactor with checks; floor="square" is the paper's variant.

    Adafactor: a matrix's second moment as column times row, steps relative to x, clipped.

    ```
    beta2 = 1 - t^-power
    rho   = min(lr, 1 / sqrt(t))           rate="warmup": min(lr t / 10000, 1 / sqrt(t))
                                           rate="scaled": lr
    alpha = max(eps2, RMS(x)) rho          rate="constant": lr
    x     = x (1 - lr weight_decay)        decay_rate="alpha": x (1 - alpha weight_decay)
    q     = g^2 + eps1                     floor="root": g^2

    two dimensions or more                 one dimension or none
    r     = beta2 r + (1 - beta2) mean of q over columns
    c     = beta2 c + (1 - beta2) mean of q over rows
    v     = r c / mean(r)                  v = beta2 v + (1 - beta2) q

    u     = g / sqrt(v)                    floor="root": v = r c / max(mean(r), eps1)
                                                         u = g / max(sqrt(v), eps1)
    u     = u / max(1, RMS(u) / clip)
    x     = x - alpha u                    momentum: m = beta1 m + (1 - beta1) alpha u; x = x - m
    ```

    lr is the cap of the relative step, 0.01 in the paper and here. With rate="warmup" the step
    reaches it, at that lr, after 10,000 steps, as the paper's 1e-6 t does. RMS(x) is taken before
    decay. Of more than two dimensions the last two are factored. A matrix whose smaller side is
    less than min_dim is not factored.

    Variants: torch has floor="root" with eps1 the precision of x's dtype; Transformers and timm
    have decay_rate="alpha"; min_dim is 0 in torch, 16 in timm, and 128 in optax, which factors the
    two largest dimensions. At t = 1, beta2 is 0, so v needs no bias correction.

    On a vector the first step is RMS(x) rho for every element, so first_step has no single value.
    The RMS of a step is at most alpha clip, and one of n elements moves by at most sqrt(n) times
    that.

    What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.01.
        beta2_decay: Exponent in beta2 = 1 - t^beta2_decay; closer to 0 remembers less. In
            (-inf, 0]. Default: -0.8.
        eps: The tuple (eps1, eps2). eps1: Added to squared gradients (floor="square", squared
            gradient units), or least value of the denominator (floor="root", gradient units).
            In [0, inf). eps2: Least RMS(x) that a relative step assumes, in units of x, so that
            zero parameters move. In [0, inf). Default: (None, 0.001).
        d: Largest RMS of an update, divided by the step size; inf for no limit. In (0, inf].
            Default: 1.0.
        weight_decay: Coefficient of weight decay; `decay` and `decay_rate` select how it enters
            the step. In [0, inf). Default: 0.0.
        foreach: Whether torch's loops over tensors are batched. None lets torch or the rule
            choose. Default: None.
        maximize: Whether to step up the gradient instead of down. Default: False.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        beta1: Decay rate of the moving average of updates; read if momentum=True. In [0, 1).
            Default: 0.9.
        momentum: Whether updates are averaged, which costs one more tensor of state. Default:
            False.
        rate: Step size: "relative" to RMS(x) with lr as the cap, "warmup" the same with a
            linear warmup, "scaled" lr RMS(x), or "constant" lr. One of 'relative', 'warmup',
            'scaled', 'constant'. Default: 'relative'.
        decay_rate: Whether decay is proportional to "lr" or to "alpha", the size of the step.
            One of 'lr', 'alpha'. Default: 'lr'.
        floor: Where eps1 enters: "square" adds it to g^2, as in the paper; "root" bounds the
            denominator, as in torch. One of 'square', 'root'. Default: 'root'.
        min_dim: Smallest side of a matrix that is factored; smaller matrices keep a whole v. In
            [0, inf). Default: 0.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Source: N. Shazeer, M. Stern, 2018, arXiv:1804.04235, Algorithms 4 and 5; momentum and the order
    of the steps as in the authors' tensor2tensor; floor="root" is torch.optim.Adafactor.
    """

    rule: ClassVar[type[Rule]] = rules.Adafactor

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.01,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 0.001),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        beta1: float = 0.9,
        momentum: bool = False,
        rate: Literal['relative', 'warmup', 'scaled', 'constant'] = 'relative',
        decay_rate: Literal['lr', 'alpha'] = 'lr',
        floor: Literal['square', 'root'] = 'root',
        min_dim: float = 0,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class StableAdamW(RuleOptimizer):
    r"""StableAdamW: AdamW that takes a smaller step in tensors whose v is behind the gradient.

    ```
    b1, b2  = beta1, beta2 debiased:  beta (1 - beta^(t-1)) / (1 - beta^t)
    m       = b1 m + (1 - b1) g                                         this is m_hat
    v       = b2 v + (1 - b2) g^2                                       this is v_hat

    limits="rate" (the paper, optimi)                     limits="update" (timm, debias="both")
    RMS_t   = RMS(g / sqrt(max(v, eps^2)))                RMS_t   = RMS(g / (sqrt(v) + eps))
    lr_t    = lr / max(1, RMS_t / d)                      lr_t    = lr / max(1, RMS_t / d)
    x       = x (1 - lr_t weight_decay)                   x       = x (1 - lr weight_decay)
    x       = x - lr_t m / (sqrt(v) + eps)                x       = x - lr_t m / (sqrt(v) + eps)
    ```

    RMS is over the whole tensor. The shared option clip differs: it bounds the RMS of the update,
    and d bounds that of the newest gradient divided by the same root.

    No bound is declared, since it depends on the size of the tensor: elements with small gradients
    weaken the limit. In a large tensor AdamW's own bound remains, 2.3452 lr at the default betas.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.99).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-06.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.01.
        limits: What RMS_t limits: "rate" scales the learning rate, decay included, as in the
            paper; "update" scales the update, as in timm. One of 'rate', 'update'. Default:
            'rate'.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "schedule" (debiased betas, as in the paper),
            "both", "second", "none". One of 'both', 'second', 'none', 'schedule'. Default:
            'schedule'.
        d: Largest RMS_t that does not slow the step; inf gives AdamW. In (0, inf]. Default:
            1.0.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: M. Wortsman et al., 2023, arXiv:2304.13013, Algorithm 2.
    """

    rule: ClassVar[type[Rule]] = rules.StableAdamW

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-06,
        weight_decay: float = 0.01,
        limits: Literal['rate', 'update'] = 'rate',
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'schedule',
        d: float = 1.0,
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class CautiousAdamW(RuleOptimizer):
    r"""AdamW without updates whose sign differs from that of g; the others are enlarged.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    u     = m_hat / (sqrt(v_hat) + eps)
    phi   = [sign(m) g > 0]
    u     = u phi / max(mean phi, 0.001)     (cautious="paper": u phi n / (sum phi + 1), n elements)
    x     = x - lr u
    ```

    The mean is over the whole tensor. u has the sign of m, and the product of two small numbers may
    be zero, which that with a sign is not. The decay is not masked. Variants: the authors' code has
    eps_at="hat" and eps=1e-6; timm has the form above.

    AdamW's step bound does not hold: if one element in a thousand agrees in sign, its update is
    multiplied by a thousand. In the paper's form the first step of n elements is n / (n + 1) times
    lr, half of lr for one element.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.01.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'mean'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: K. Liang, L. Chen, B. Liu, Q. Liu, 2024, arXiv:2411.16085, Algorithm 1; the lower limit
    on the mean is their code's (the algorithm adds a small number instead).
    """

    rule: ClassVar[type[Rule]] = rules.CautiousAdamW

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'mean',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class AdamC(RuleOptimizer):
    r"""AdamC: AdamW whose decay is multiplied by lr / peak_lr in layers before a normalization.

    ```
    x     = x (1 - lr^2 / peak_lr weight_decay)          (normalized=False: 1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    A normalization makes g orthogonal to x, and the norm of x settles where decay and update
    balance. With AdamW, |u| / |x| = sqrt(2 weight_decay / lr) there, which grows as the schedule
    decays lr, and so does the gradient at the end of a run. Here it remains sqrt(2 weight_decay /
    peak_lr).

    Set peak_lr to the largest lr of the schedule: at a constant lr = peak_lr, AdamC is AdamW. With
    decay="independent" the factor is 1 - (lr / peak_lr)^2 weight_decay.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.01.
        normalized: Whether a normalization follows the layer: decay is then multiplied by lr /
            peak_lr. Default: True.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: A. Defazio, 2025, arXiv:2506.02285, the corrected decay in the form for AdamW.
    """

    rule: ClassVar[type[Rule]] = rules.AdamC

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        normalized: bool = True,
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class ADOPT(RuleOptimizer):
    r"""ADOPT: g divided by the root of the previous v, clipped, then averaged; L2 weight decay.

    ```
    g = g + weight_decay x

    t = 1:                                            v = g^2, and x and m stay
    t > 1:  n = g / max(sqrt(v), eps)
            n = min(max(n, -c), c), c = (t - 1)^growth
            m = beta1 m + (1 - beta1) n
            x = x - lr m
            v = beta2 v + (1 - beta2) g^2
    ```

    There is no bias correction, and eps is a maximum and not a summand. Decoupled decay also starts
    at t = 2. The limit c was added after publication, against the huge steps that follow a first
    gradient near zero.

    Variants: limit="none" (the first version), growth=0.333 (timm), limit="t": c = t^growth
    (pytorch-optimizer, where decay also acts at t = 1). No step bound holds at all steps, since the
    limit grows: |x' - x| <= lr (t - 1)^growth.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            normalized gradients. In [0, 1). beta2: Decay rate of v, the moving average of
            squared gradients, over 1 / (1 - beta2) steps. In [0, 1). Default: (0.9, 0.9999).
        eps: Least value of the denominator, in gradient units. In [0, inf). Default: 1e-06.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        growth: Exponent of the limit of normalized gradients, (t - 1)^growth; larger lets
            larger gradients pass. In [0, inf). Default: 0.25.
        limit: What is raised to the power `growth`: "t-1" (the authors' code), "t"
            (pytorch-optimizer), or "none" for no limit. One of 't-1', 't', 'none'. Default:
            't-1'.
        decay: How weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by
            lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of 'l2',
            'decoupled', 'independent'. Default: 'l2'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: S. Taniguchi et al., 2024, arXiv:2411.02853, the algorithm ADOPT with c_t = t^(1/4),
    where t counts from the second gradient on; first step and decay as in the authors' code.
    """

    rule: ClassVar[type[Rule]] = rules.ADOPT

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.9999),
        eps: float = 1e-06,
        weight_decay: float = 0.0,
        growth: float = 0.25,
        limit: Literal['t-1', 't', 'none'] = 't-1',
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'l2',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class Yogi(RuleOptimizer):
    r"""Yogi: v moves towards g^2 by (1 - beta2) g^2, whatever the distance; L2 weight decay.

    ```
    m     = 0, v = initial_accumulator         (before the first step; starts="both": also m)

    g     = g + weight_decay x
    m     = beta1 m + (1 - beta1) g
    v     = v - (1 - beta2) sign(v - g^2) g^2            (activation="tanh": tanh(10 (v - g^2)))
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    A small gradient hardly lowers v, and zero gradients leave v unchanged: the effective lr cannot
    jump up as in Adam.

    Variants: the paper has no bias corrections (debias="none"). TensorFlow Addons has the form
    above with eps_at="hat", and the tanh as an option. optax and pytorch-optimizer start m at
    initial_accumulator, too: x then moves at zero gradient, and the step is not odd in x. v is
    debiased as if it had started at zero: at t = 1, v_hat is g^2 + initial_accumulator / (1 -
    beta2). So the step depends on the scale of the gradient even at eps = 0.

    As long as g^2 > v, v is the sum (1 - beta2) sum g^2. Hence |x' - x| <= lr B with the supremum B
    = (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2)), approached as g grows like beta1^-t. Steps with
    g^2 < v do not exceed it: they add at most (1 - beta1) sqrt(v) to m.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.01.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: 1 -
            beta2 is the share of g^2 by which v moves towards g^2 per step. In [0, 1). Default:
            (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 0.001.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        initial_accumulator: Value of v before the first step, in squared gradient units; larger
            makes the first steps smaller. In [0, inf). Default: 1e-06.
        starts: Which moments start at initial_accumulator: "v", as in TensorFlow, or "both", as
            in optax. One of 'v', 'both'. Default: 'v'.
        activation: How v moves towards g^2: by the "sign" of their difference, or by a "tanh"
            of it. One of 'sign', 'tanh'. Default: 'sign'.
        decay: How weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by
            lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of 'l2',
            'decoupled', 'independent'. Default: 'l2'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: M. Zaheer, S. Reddi, D. Sachan, S. Kale, S. Kumar, 2018, Adaptive Methods for Nonconvex
    Optimization, NeurIPS, Algorithm 2.
    """

    rule: ClassVar[type[Rule]] = rules.Yogi

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 0.001,
        weight_decay: float = 0.0,
        initial_accumulator: float = 1e-06,
        starts: Literal['v', 'both'] = 'v',
        activation: Literal['sign', 'tanh'] = 'sign',
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'l2',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class AdaBelief(RuleOptimizer):
    r"""AdaBelief: Adam whose v averages (g - m)^2 instead of g^2; decoupled weight decay.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) (g - m)^2 + eps
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)

    rectify:  rho_t >= 5:   x = x - lr r_t m_hat / (sqrt(v_hat) + eps)     (RAdam's rho_t, r_t)
              rho_t < 5:    x = x - lr m_hat
    ```

    The paper calls v s. eps acts twice. In v it adds up to eps / (1 - beta2): the default 1e-16
    amounts to 3e-7 in the denominator, and Adam's 1e-8 would amount to 3e-3.

    The m in g - m contains g. At eps = 0 the first step is lr / beta1, and a constant gradient
    takes v to zero, so that no step bound holds. At beta1 = 0, v is eps alone.

    Variants: the authors' package has rectify=True since its version 0.1.0, with eps_at="hat" in
    effect; the paper and optax do not rectify.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of (g - m)^2, over 1 / (1 - beta2) steps. In [0, 1).
            Default: (0.9, 0.999).
        eps: Added to the root of v_hat (gradient units) and to v at every step (squared
            gradient units). In [0, inf). Default: 1e-16.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        rectify: Whether RAdam's rectification scales the step while v has few terms. Default:
            False.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: J. Zhuang et al., 2020, arXiv:2010.07468, Algorithm 2.
    """

    rule: ClassVar[type[Rule]] = rules.AdaBelief

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        rectify: bool = False,
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class Adan(RuleOptimizer):
    r"""Adan: Adam on the gradient expected one step ahead, with proximal weight decay.

    ```
    delta = g - g_prev                                    (0 at t = 1)
    m     = beta1 m + (1 - beta1) g
    d     = beta2 d + (1 - beta2) delta
    n     = beta3 n + (1 - beta3) (g + beta2 delta)^2
    m_hat = m / (1 - beta1^t)
    d_hat = d / (1 - beta2^t)
    n_hat = n / (1 - beta3^t)
    x     = x - lr (m_hat + beta2 d_hat) / (sqrt(n_hat) + eps)
    x     = x / (1 + lr weight_decay)      (proximal=False: x (1 - lr weight_decay) before)
    ```

    The paper's betas are weights of new values: its 0.02, 0.08 and 0.01 are 0.98, 0.92 and 0.99
    here. The paper calls d v.

    Variants: optax has 1 - beta2 in place of beta2 before both delta and d_hat (difference="new"),
    which is the paper's letter with the value of the other convention. `proximal` has no effect
    with decay="l2".

    At eps = 0, the largest |x' - x| / lr over all histories is 1.2054 at the default betas.
    Geometric histories, the worst for Adam, reach 1.160: the worst history here is a sum of several
    powers.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2, beta3). beta1: Decay rate of m, the moving average of
            gradients. In [0, 1). beta2: Decay rate of d, the moving average of gradient
            differences. In [0, 1). beta3: Decay rate of n, the moving average of the squared
            look-ahead gradient. In [0, 1). Default: (0.98, 0.92, 0.99).
        eps: Added to the root of n_hat, in gradient units. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        proximal: Whether decay divides x by 1 + lr weight_decay after the step, or shrinks x
            before it. Default: True.
        difference: Weight of the gradient difference: "kept" is beta2, as in the paper; "new"
            is 1 - beta2, as in optax. One of 'kept', 'new'. Default: 'kept'.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: X. Xie, P. Zhou, H. Li, Z. Lin, S. Yan, 2022, arXiv:2208.06677, Algorithm 1, and the
    authors' code.
    """

    rule: ClassVar[type[Rule]] = rules.Adan

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        proximal: bool = True,
        difference: Literal['kept', 'new'] = 'kept',
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class Adamax(TorchCompatible, torch.optim.Adamax):
    r"""torch.optim.Adamax with checks, and the rule's variants as options.

    AdaMax: Adam with a decaying maximum of |g| in place of the root of v; L2 weight decay.

    ```
    g = g + weight_decay x
    m = beta1 m + (1 - beta1) g

    eps_at="max" (torch, optax)             eps_at="after" (Keras)
    u = max(beta2 u, |g| + eps)             u = max(beta2 u, |g|)
    x = x - lr / (1 - beta1^t) m / u        x = x - lr / (1 - beta1^t) m / (u + eps)
    ```

    The paper has no eps: that is eps = 0, with 0 / 0 if all gradients so far are zero. u needs no
    bias correction.

    What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.002.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of u, the fading maximum of |g|. In [0, 1). Default: (0.9, 0.999).
        eps: Added to |g| inside of the maximum, or to the denominator; in gradient units. In
            [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.
        foreach: Whether torch's loops over tensors are batched. None lets torch or the rule
            choose. Default: None.
        maximize: Whether to step up the gradient instead of down. Default: False.
        differentiable: Whether autograd can differentiate through the step, which is slower.
            Default: False.
        capturable: Whether a step can be captured in a CUDA graph. Default: False.
        decay: How weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by
            lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of 'l2',
            'decoupled', 'independent'. Default: 'l2'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added: inside of the "max", as in torch, or "after" it, as in
            Keras. One of 'max', 'after'. Default: 'max'.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 2. Below, |x' - x| <= lr B with the
    supremum B = (1 - beta1) / (1 - beta1 / beta2), approached if |g| falls like beta2^t, so
    that u is always the latest |g|.
    """

    rule: ClassVar[type[Rule]] = rules.Adamax

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.002,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        decay: Literal['l2', 'decoupled', 'independent'] = 'l2',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['max', 'after'] = 'max',
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class NAdam(TorchCompatible, torch.optim.NAdam):
    r"""torch.optim.NAdam with checks, and the rule's variants as options.

    NAdam: Adam with Nesterov's look-ahead along its momentum and L2 weight decay, as in torch.

    ```
    g     = g + weight_decay x
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    c     = 1 - mu_1 mu_2 ... mu_t
    c'    = 1 - mu_1 mu_2 ... mu_(t+1)                 momentum="single":  c' = c
    m_hat = mu_(t+1) m / c' + (1 - mu_t) g / c
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)

    momentum="scheduled" (torch):          mu_t = beta1 (1 - 0.96^(momentum_decay t) / 2)
    momentum="constant" (optax):           mu_t = beta1, so that c = 1 - beta1^t
    momentum="single" (timm, AlgoPerf):    mu_t = beta1, and one correction for both terms
    ```

    The three are not equal. "scheduled" also differs from the paper: as in torch, m is averaged
    with beta1 and not with mu_t, and v_hat is not multiplied by beta2. Keras has momentum_decay =
    1. `debias="second"` and `"none"` have c = c' = 1.

    What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.002.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.
        momentum_decay: How fast the schedule of mu_t rises to beta1, per step; read if
            momentum="scheduled". In [0, inf). Default: 0.004.
        decoupled_weight_decay: Whether weight decay shrinks x by lr weight_decay, as in AdamW,
            instead of an L2 term in the gradient. Default: False.
        foreach: Whether torch's loops over tensors are batched. None lets torch or the rule
            choose. Default: None.
        maximize: Whether to step up the gradient instead of down. Default: False.
        capturable: Whether a step can be captured in a CUDA graph. Default: False.
        differentiable: Whether autograd can differentiate through the step, which is slower.
            Default: False.
        decay: How weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by
            lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of 'l2',
            'decoupled', 'independent'. Default: 'l2'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        momentum: The look-ahead weights mu_t: "scheduled", as in torch; "constant" beta1, as in
            optax; "single", with one correction for both terms, as in timm. One of 'scheduled',
            'constant', 'single'. Default: 'scheduled'.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Source: T. Dozat, 2016, Incorporating Nesterov momentum into Adam, ICLR workshop, Algorithm 2.
    While mu_t is still small, g itself has a weight of about 1 - mu_t in m_hat, and v is slow
    to see it. Hence |x' - x| <= 14.6 lr below, reached at t = 1890 by a gradient that grows
    about tenfold per step; with constant momentum it is 8.42 lr, in Adam 7.27 lr.
    """

    rule: ClassVar[type[Rule]] = rules.NAdam

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.002,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0,
        momentum_decay: float = 0.004,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        decay: Literal['l2', 'decoupled', 'independent'] = 'l2',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        momentum: Literal['scheduled', 'constant', 'single'] = 'scheduled',
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class RAdam(TorchCompatible, torch.optim.RAdam):
    r"""torch.optim.RAdam with checks, and the rule's variants as options.

    RAdam: momentum alone while v has few terms, then Adam with a warmup set by beta2.

    ```
    g       = g + weight_decay x
    m       = beta1 m + (1 - beta1) g
    v       = beta2 v + (1 - beta2) g^2
    m_hat   = m / (1 - beta1^t)
    rho_inf = 2 / (1 - beta2) - 1
    rho     = rho_inf - 2 t beta2^t / (1 - beta2^t)
    r       = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))

    rho above the threshold:    x = x - lr r m_hat sqrt(1 - beta2^t) / (sqrt(v) + eps)
    else, before="momentum":   x = x - lr m_hat
          before="nothing":    x = x
    ```

    rho is a little less than t at first, so that every threshold is between two of the first steps:

    ```
    threshold=">5"     torch, before="momentum":     Adam from the sixth step on
    threshold=">=5"    optax, before="momentum", eps_at="after"
    threshold=">=5"    its authors' code, before="nothing", decay="decoupled"
    threshold=">4"     the paper, before="momentum", no eps:    Adam from the fifth step on
    ```

    Momentum steps are lr m_hat in gradient units, whatever v. Therefore no step size or bound is
    declared, and the rule is not scale-free. With before="nothing" it is, and decoupled decay also
    waits for the threshold. beta2 <= 0.6 has rho_inf <= 4 and never leads to Adam.

    What this class adds to torch's class of the same name, whose arguments, state and results it
    keeps.

    - The fused kernel is the default for dtypes for which it was checked against the loop (step/checked_kernels.py),
      and for parameters for which it is safe. Torch 2.13's fused CPU kernels walk raw memory: if strides differ between
      parameter, gradient and state, they update the wrong elements; if a parameter is a view with gaps, they write
      outside it. Gradients and states are therefore copied into the parameter's layout, and views take torch's loop.
    - A state of another dtype than its parameter's (float32 moments of a bfloat16 parameter) is kept through
      `load_state_dict`, and the step is computed in it.
    - The rule's own options (where eps is added, debiasing, decay, clipping, masking) are keyword arguments and group
      options; a group that sets one is stepped by the rule.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.
        decoupled_weight_decay: Whether weight decay shrinks x by lr weight_decay, as in AdamW,
            instead of an L2 term in the gradient. Default: False.
        foreach: Whether torch's loops over tensors are batched. None lets torch or the rule
            choose. Default: None.
        maximize: Whether to step up the gradient instead of down. Default: False.
        capturable: Whether a step can be captured in a CUDA graph. Default: False.
        differentiable: Whether autograd can differentiate through the step, which is slower.
            Default: False.
        decay: How weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by
            lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of 'l2',
            'decoupled', 'independent'. Default: 'l2'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "hat" before debiasing, as in torch's
            RAdam; "after" debiasing; inside the "root". One of 'after', 'hat', 'root'. Default:
            'hat'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        threshold: Value of rho beyond which the rectified step replaces momentum alone. One of
            '>5', '>=5', '>4'. Default: '>5'.
        before: The step while rho is below the threshold: "momentum", lr m_hat, or "nothing".
            One of 'momentum', 'nothing'. Default: 'momentum'.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Source: L. Liu et al., 2020, arXiv:1908.03265, Algorithm 2; the form is that of
    torch.optim.RAdam.
    """

    rule: ClassVar[type[Rule]] = rules.RAdam

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        decay: Literal['l2', 'decoupled', 'independent'] = 'l2',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'hat',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        threshold: Literal['>5', '>=5', '>4'] = '>5',
        before: Literal['momentum', 'nothing'] = 'momentum',
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class AdamD(RuleOptimizer):
    r"""AdamD: Adam that debiases v but not m, so that the first steps are short.

    ```
    x    = x (1 - lr weight_decay)
    m    = beta1 m + (1 - beta1) g
    v    = beta2 v + (1 - beta2) g^2
    root = (sqrt(v) + eps) / sqrt(1 - beta2^t)
    x    = x - lr m / root
    ```

    It is Adam with lr (1 - beta1^t) in place of lr: a warmup of about 1 / (1 - beta1) steps, after
    which every gradient has had the same weight in the sum of all steps. `eps_at="after"` has eps
    where torch's Adam has it.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-08.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "hat" before debiasing, "after"
            debiasing, or inside the "root". One of 'after', 'hat', 'root'. Default: 'hat'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "second" is AdamD; "both", "none" or "schedule" give
            variants of Adam. One of 'both', 'second', 'none', 'schedule'. Default: 'second'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: J. St John, 2021, arXiv:2110.10828. The supremum of |x' - x| / lr is Adam's: it is
    reached late.
    """

    rule: ClassVar[type[Rule]] = rules.AdamD

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'hat',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'second',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class LaProp(RuleOptimizer):
    r"""LaProp: the gradient is first divided by the root of v and then averaged.

    ```
    x     = x (1 - lr / peak_lr weight_decay)
    v     = beta2 v + (1 - beta2) g^2
    v_hat = v / (1 - beta2^t)
    n     = g / (sqrt(v_hat) + eps)

    lr_at="step" (the paper)             lr_at="average" (its authors' code)
    m = beta1 m + (1 - beta1) n          m = beta1 m + (1 - beta1) lr n
    c = beta1 c + (1 - beta1)            c = beta1 c + (1 - beta1) lr

    x = x - lr m / c
    ```

    On the left, c = 1 - beta1^t. The two differ only while lr changes: on the right, steps at a
    larger lr keep their larger weight. The authors' code applies the decay after the step, by x = x
    (1 - weight_decay), and leaves it to the user to lower weight_decay with lr.
    `decay="independent"` does so, with peak_lr as the constant part of lr.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.0004.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            normalized gradients. In [0, 1). beta2: Decay rate of v, the moving average of
            squared gradients, over 1 / (1 - beta2) steps. In [0, 1). Default: (0.9, 0.999).
        eps: Added to the root of v_hat, in gradient units; it bounds the update of elements
            with tiny gradients. In [0, inf). Default: 1e-15.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        lr_at: Whether lr multiplies the "step", as in the paper, or enters the "average", as in
            the authors' code; they differ while lr changes. One of 'step', 'average'. Default:
            'step'.
        decay: How weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by
            lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of 'l2',
            'decoupled', 'independent'. Default: 'independent'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        eps_at: Where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root". One of
            'after', 'hat', 'root'. Default: 'after'.
        eps_root: Added to v_hat (or v) inside the root, in squared gradient units. In [0, inf).
            Default: 0.0.
        debias: Which moments are debiased: "both"; only the "second"; "none"; or "schedule",
            which averages with betas that need no correction. One of 'both', 'second', 'none',
            'schedule'. Default: 'both'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: L. Ziyin, Z. T. Wang, M. Ueda, 2020, arXiv:2002.04839, Algorithm 1. beta1 and beta2 do
    not limit each other: |n| < 1 / sqrt(1 - beta2) at any beta1. That supremum, approached by
    ever faster growing gradients, is larger than Adam's at the default betas: 31.6 and 7.27.
    """

    rule: ClassVar[type[Rule]] = rules.LaProp

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.0004,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-15,
        weight_decay: float = 0.0,
        lr_at: Literal['step', 'average'] = 'step',
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'independent',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        eps_at: Literal['after', 'hat', 'root'] = 'after',
        eps_root: float = 0.0,
        debias: Literal['both', 'second', 'none', 'schedule'] = 'both',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

class AdamAtan2(RuleOptimizer):
    r"""Adam with atan2 in place of the quotient: no eps, and no step beyond a quarter turn.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    v_hat = v / (1 - beta2^t)

    correction="inside":     x = x - lr a atan2(m / (1 - beta1^t), b sqrt(v_hat))
    correction="outside":    x = x - lr a atan2(m, b sqrt(v_hat)) / (1 - beta1^t)
    ```

    atan2(m, b r) is atan(m / (b r)), and 0 at 0 / 0. Small ratios are multiplied by a / b. With the
    correction inside, no step is longer than a pi / 2 lr.

    Packages disagree. adam-atan2-pytorch has a = 1.27 and b = 1, which takes |m_hat| = sqrt(v_hat)
    to 0.9975. The kernel of adam-atan2 has a = b = 1 and was published with either correction.
    HeavyBall has a = b = 16, nearly Adam's quotient. At the first step of a = b = 1, the correction
    inside gives pi / 4 = 0.785, and the one outside 10 atan(0.1) = 0.997.

    A torch.optim.Optimizer whose step is a rule's.

    Everything that torch.optim promises works: groups that change any option, schedulers, closures, hooks, named
    parameters, copies, checkpoints. Each parameter counts its own steps. The state has plain tensors under torch's keys
    (step, exp_avg, exp_avg_sq, ...) and keeps its dtype through `load_state_dict`; if that is wider than the
    parameter's, the step is computed in it. Complex parameters are stepped as pairs of real elements.

    Args:
        params: Parameters, (name, parameter) pairs, or groups as dicts with the key params.
        lr: Learning rate. In [0, inf). Default: 0.001.
        betas: The tuple (beta1, beta2). beta1: Decay rate of m, the moving average of
            gradients; larger remembers longer, 1 / (1 - beta1) steps. In [0, 1). beta2: Decay
            rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps. In
            [0, 1). Default: (0.9, 0.999).
        a: Scale of the update; the step is at most a pi / 2 lr. In [0, inf). Default: 1.27.
        b: Scale of the denominator inside of atan2; small ratios are multiplied by a / b. In
            [0, inf). Default: 1.0.
        weight_decay: Coefficient of weight decay; `decay` selects how it enters the step. In
            [0, inf). Default: 0.0.
        correction: Whether m is debiased "inside" of atan2 or "outside" of it. One of 'inside',
            'outside'. Default: 'inside'.
        decay: How weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay. One of
            'l2', 'decoupled', 'independent'. Default: 'decoupled'.
        peak_lr: Learning rate before its schedule, read if decay="independent"; None for lr
            itself, and optimizers set it to the lr that a group is created with. In (0, inf).
            Default: None.
        clip: Largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit. In (0, inf]. Default: inf.
        cautious: Which elements move: "mean" and "paper" skip those whose update and gradient
            have opposite signs, and differ in how the rest is rescaled; "off" moves all. One of
            'off', 'mean', 'paper'. Default: 'off'.
        maximize: Whether to step up the gradient instead of down. Default: False.
        storage: Format of the state: "parameter", the parameter's dtype, as in torch;
            "float32"; "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a
            scale each, 2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the
            same with bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in
            8 bits. Default: 'parameter'.
        rounding: How bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter. Default: 'nearest'.
        average: Decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored
            in the state as "average"; see `averaged`. None for no average. Default: None.
        max_norm: Largest norm of all gradients together, > 0; larger gradients are scaled down
            for the step, and .grad is not changed. `norms` then has the norms. None for no
            limit. Default: None.
        zero: Whether the step sets gradients to zero, those that it skips too. Default: False.
        nonfinite: What happens to a gradient that is not finite: "pass" uses it, "raise" raises
            an error that names the parameter, "skip" skips that parameter in this step.
            Default: 'pass'.
        path: How the rule's operations run: "eager", one after the other; "compiled", as one
            pass over memory, after half a second of compiling at the first step; "auto"
            compiles from 65,536 elements on. Default: 'auto'.

    Raises:
        BadInput: for no parameters, a parameter that is not floating-point, a sparse gradient, an option that is
            unknown or out of range, a state dict of another rule or shape.

    Source: K. Everett et al., 2024, arXiv:2407.05872. Below, |x' - x| <= lr a atan(B / b), B = 7.27
    being Adam's.
    """

    rule: ClassVar[type[Rule]] = rules.AdamAtan2

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        a: float = 1.27,
        b: float = 1.0,
        weight_decay: float = 0.0,
        correction: Literal['inside', 'outside'] = 'inside',
        *,
        decay: Literal['l2', 'decoupled', 'independent'] = 'decoupled',
        peak_lr: float | None = None,
        clip: float = inf,
        cautious: Literal['off', 'mean', 'paper'] = 'off',
        maximize: bool = False,
        storage: Literal['parameter', 'float32', 'bfloat16', '8bit', 'dynamic 8bit'] = 'parameter',
        rounding: Literal['nearest', 'stochastic', 'kahan'] = 'nearest',
        average: float | None = None,
        max_norm: float | None = None,
        zero: bool = False,
        nonfinite: Literal['pass', 'raise', 'skip'] = 'pass',
        path: Literal['auto', 'eager', 'compiled'] = 'auto',
    ) -> None: ...

