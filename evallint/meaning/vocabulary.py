"""Names of methods and functions, by what they do to modules and tensors."""

from __future__ import annotations

from evallint.meaning import names

SAME_OBJECT = frozenset(
    "to cuda cpu half float double bfloat16 type requires_grad_"
    " apply share_memory add_module register_module npu xpu train eval ipex".split()
)
"""Methods that return the module that they are called on."""
MODE_METHODS = frozenset(("eval", "train"))
"""Methods of modules that switch the mode."""
NOT_FORWARDS = frozenset(
    "to cuda cpu half float double bfloat16 type"
    " requires_grad_ apply share_memory add_module register_module parameters named_parameters modules named_modules"
    " children named_children state_dict load_state_dict buffers"
    " named_buffers zero_grad register_buffer register_parameter register_forward_hook"
    " register_forward_pre_hook register_full_backward_hook register_backward_hook get_parameter"
    " get_submodule get_buffer extra_repr init_weights save"
    " save_pretrained load resize_token_embeddings get_input_embeddings"
    " gradient_checkpointing_enable compile fit save_checkpoint load_checkpoint"
    " load_weights save_weights save_model load_model freeze unfreeze"
    " summary __repr__ print_trainable_parameters no_sync set_input optimize_parameters"
    " tie_weights update_target update_weights init_hidden init_state reset reset_parameters clear_cache set_epoch get_lr"
    " preprocess tokenize collate".split()
)
"""Methods of modules that run no forward."""
FORWARD_METHODS = frozenset(
    "forward generate encode decode predict sample infer inference"
    " embed transcribe translate detect segment classify extract_features forward_features"
    " encode_image encode_text get_image_features get_text_features get_embedding"
    " get_embeddings get_features log_prob reconstruct greedy_decode"
    " beam_search predict_proba logits __call__ forward_once forward_one extract_feat simple_test forward_test forward_dummy"
    " encode_first_stage decode_first_stage p_sample ddim_sample apply_model push_forward"
    " training_step validation_step test_step predict_step".split()
)
"""Methods that run a forward, by their names."""
COMMON_METHODS = frozenset(
    "get set update run step forward train eval append add items keys values"
    " pop join split format read write open close copy to cuda cpu fit"
    " transform load save reset size shape mean sum view item backward zero_grad log print start stop init build create setup call apply"
    " parameters state_dict load_state_dict __init__ __call__ fit_transform index count sort extend insert remove replace encode decode"
    " predict_proba max min dump flush next data name info warning error debug".split()
)
"""Method names that too many classes share to say which one is meant."""
CUTTING = frozenset("detach detach_ item numpy tolist argmax argmin argsort data_ptr sample multinomial".split())
"""Methods of tensors whose result is out of the graph."""
METRICS = frozenset("item numpy tolist argmax argmin max topk eq detach cpu sigmoid softmax round".split())
"""Methods and functions by which an output becomes numbers."""
HIGHER_ORDER = frozenset(
    "builtins.map builtins.filter builtins.sorted functools.reduce"
    " itertools.starmap torch.utils.checkpoint.checkpoint torch.func.vmap torch.vmap".split()
)
"""Functions that call what they are handed."""
HOLDERS = frozenset("Sequential ModuleList ModuleDict DataParallel DistributedDataParallel TransformerEncoder TransformerDecoder".split())
"""Modules of torch.nn that are handed modules."""
SETTING_UP = frozenset("init load build setup initialize create make set prepare get".split())
"""First words of functions that make or fetch a model."""
PHASES = frozenset("mode phase train training test testing eval evaluate inference istrain".split())
"""Words of flags that say what a program is run for."""
FLAGS = frozenset("train training optimizer optimizers optim opt optimiser".split())
"""Words of flags that say that it trains."""

GRADIENT_FLAGS = frozenset("grad grads gradient gradients".split())
"""Words of flags that ask for gradients."""

CLUSTERING = frozenset("kmeans cluster clusters clusterer clustering leiden louvain gmm spectral dbscan agglomerative".split())
"""Words of what groups features: with its groups training begins, or goes on."""
EVALUATING = frozenset("eval evaluating evaluation inference testing".split())
AROUND = frozenset("as in with mode model models module no grad set to context ctx temporarily temporary switch put keep".split())


def names_evaluation(name: str) -> bool:
    """Whether a decorator or context manager that cannot be seen switches a model to evaluation mode: `in_eval`, `EvalMode`."""
    said = set(names.words(name))
    return bool(said & EVALUATING) and said <= EVALUATING | AROUND
