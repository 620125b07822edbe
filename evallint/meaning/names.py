"""What names say. The last resort of the analysis: a class, a constructor or a use is better evidence."""

from __future__ import annotations

import re
from functools import lru_cache

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@lru_cache(maxsize=20000)
def words(name: str) -> tuple[str, ...]:
    """The lower-case words of an identifier: `valLoader2` and `val_loader_2` both give val, loader, 2."""
    return tuple(w.lower() for w in _WORDS.findall(name))


MODEL_WORDS = frozenset(
    "model net network netg netd encoder decoder generator discriminator classifier backbone critic actor policy vae gan unet"
    " transformer bert gpt resnet vit clip lm llm student teacher embedder autoencoder predictor ema module nn cnn rnn lstm gru mlp"
    " detector segmentor segmenter recognizer denoiser sampler diffusion prior posterior regressor seq2seq vqvae vgg inception"
    " densenet efficientnet unet3d gcn gnn gat flow score vocoder"
    " tagger parser ranker reranker retriever embedding embeddings learner qnet".split()
)
MODEL_SHORT = frozenset(("G", "D", "E", "F", "C", "net", "g_ema", "netG", "netD", "netE", "netF", "netC"))
WEAK_MODEL_WORDS = frozenset("score flow prior sampler parser embedding embeddings learner posterior ranker nn clip module".split())
NOT_MODEL_WORDS = frozenset(
    "criterion loss losses metric metrics tokenizer tokenize transform transforms transformation optimizer optim opt scheduler dataset data"
    " loader dataloader fn func function name path dir file cfg config args kwargs params param id ids type cls class output outputs"
    " out input inputs size dim info dict state weights weight hook logger writer saver url key keys list init factory builder version"
    " summary step time device dtype callback hparams evaluator iterator iter batch sample samples env environment trainer test arch"
    " validate dump json fields preprocessor postprocessor"
    " wrapper spec signature kind str shape mean std accuracy acc count vocab processor preprocess collate timer".split()
)
EVALUATION_WORDS = frozenset(
    "eval evaluate evaluation evaluating evaluator val valid validate validation validating test testing tester tests infer inference"
    " predict prediction predictions predicting predictor generate generation sample sampling embed embeds embedding embeddings encode"
    " transcribe translate detect decode greedy beam score scoring classify segment benchmark visualize visualise visualization"
    " plot demo show extract extraction reconstruct reconstruction interpolate fid accuracy rollout caption answer"
    " example examples fake preview previews perplexity ppl export inferences retrieve retrieval search query rank".split()
)
STRONG_EVALUATION_WORDS = frozenset(
    "eval evaluate evaluation val valid validate validation test testing infer inference predict prediction predictions benchmark fid"
    " accuracy perplexity ppl transcribe translate demo generate sample".split()
)
TRAIN_WORDS = frozenset("train training trainer fit optimize optimise learn pretrain finetune update epoch".split())
ROUND_WORDS = frozenset(("epoch",))
"""Words of functions that train, unless another word says that they evaluate: `validate_epoch`."""
LOADER_EVAL_WORDS = frozenset("val valid validation validate test testing dev eval evaluation holdout infer inference predict".split())
LOADER_WORDS = frozenset("loader loaders dataloader dataloaders".split())
DATA_WORDS = LOADER_WORDS | frozenset("dataset datasets batches data batch iterator".split())
DELIBERATE_WORDS = tuple(
    "mc_dropout mcdropout monte_carlo montecarlo update_bn bn_update recalibrat calibrate_bn batchnorm batch_norm"
    " enable_dropout activate_dropout stochastic_forward stochastic_predict stochastic_sampl stochastic_infer uncertain"
    " bayesian dropout bn_calib reset_bn precise_bn lsuv mc_sampl mc_predict mc_forward epistemic standing_stat".split()
)
GRADIENT_WORDS = frozenset(
    "attack attacks adversarial adversary fgsm pgd saliency gradcam gradcams cam cams attribution attributions attribute integrated"
    " gradients gradient jacobian hessian fisher influence explain explainer explanation sensitivity deepfool craft lrp"
    " smoothgrad backprop backward penalty forces force stress inversion invert dream lime shap captum".split()
)


LOSS_WORDS = frozenset("criterion criterions loss losses cost objective".split())
PREPARATION_WORDS = frozenset("init initialize initialise initialization warmup".split())
VERBS = frozenset("predict fit train eval load save get n forward call run step".split())
LEADING_VERBS = frozenset(
    "fit get build make create load save init is has n num use set wrap unwrap prepare setup register print count update log plot show"
    " compute run apply export restore check compare select push upload download convert initialize reset define compile"
    " train evaluate".split()
)
PREPARING = frozenset("load get build create make prepare setup init initialize from restore resume model net network read fetch".split())
TRANSFORM_WORDS = frozenset(
    "featurizer spectrogram mfcc fbank stft augmentation augmentations augment augmenter preprocessor preprocessing tokenizer"
    " transform transforms blur".split()
)
JUDGING_WORDS = frozenset("eval evaluate validate validation test demo inference infer predict".split())
ENVIRONMENT_WORDS = frozenset("env envs environment environments task game gym vecenv".split())
REHEARSAL_WORDS = frozenset(
    "eval evaluate evaluation evaluator test testing validate validation play demo enjoy benchmark visualize render record show".split()
)


def words_of_function(name: str) -> tuple[str, ...]:
    """The words of a callable's name without those that only say that it is one: `loss_fn` gives loss."""
    said = words(name)
    while said[-1:] in (("fn",), ("func",), ("function",), ("f",)):
        said = said[:-1]
    return said


@lru_cache(maxsize=20000)
def is_model_name(name: str) -> bool:
    """Whether a variable of this name is usually a model."""
    if name in MODEL_SHORT:
        return True
    parts = words(name)
    if not parts:
        return False
    parts = tuple(p for p in parts if not p.isdigit()) or parts
    if parts[-1] == "parallel":  # a model in its wrapper
        parts = parts[:-1] or parts
    if parts[-1] in NOT_MODEL_WORDS or (len(parts) > 1 and (parts[-1] in VERBS or parts[0] in LEADING_VERBS)):
        return False
    if parts[-1] in MODEL_WORDS and parts[-1] not in WEAK_MODEL_WORDS:
        return True
    return any(p in ("model", "net", "network") for p in parts) and not any(p in NOT_MODEL_WORDS for p in parts)


@lru_cache(maxsize=20000)
def is_not_model_name(name: str) -> bool:
    """Whether a variable of this name is usually no model, even if it has an `eval` or a `train`."""
    parts = words(name)
    return bool(parts) and parts[-1] in NOT_MODEL_WORDS and not is_models_name(name)


@lru_cache(maxsize=20000)
def is_optimizer_name(name: str) -> bool:
    """Whether a variable of this name is usually an optimizer (or a gradient scaler that steps one)."""
    parts = words(name)
    return any(
        p in ("opt", "optim", "optimizer", "optimiser", "optimizers", "opts", "solver", "adam", "sgd", "optg", "optd") for p in parts
    ) and not any(p in ("scheduler", "config", "name", "path") for p in parts)


MEASURES = frozenset("criterion criterions loss losses metric metrics cost crit objective ssim msssim psnr evaluator".split())


@lru_cache(maxsize=20000)
def is_loss_name(name: str) -> bool:
    """Whether a callable of this name is usually a loss or a metric."""
    return has_words(name, MEASURES)


@lru_cache(maxsize=20000)
def is_transform_name(name: str) -> bool:
    """Whether a class of this name prepares data, even where it is a Module."""
    return not TRANSFORM_WORDS.isdisjoint(words(name)[-1:])


@lru_cache(maxsize=20000)
def is_models_name(name: str) -> bool:
    """Whether a variable of this name usually holds several models: `models`, `net_list`."""
    parts = words(name)
    return parts[-1:] in (("models",), ("nets",), ("networks",)) or parts[-2:] in (("model", "list"), ("net", "list"), ("network", "list"))


def are_models(said: str) -> bool:
    """Whether what a loop goes through, as the names in it, are several models: what each is run on comes from the loop around it."""
    return any(is_models_name(name) or words(name)[-1:] == ("agents",) for name in said.split()) and not has_words(said, DATA_WORDS)


def prepares(name: str) -> bool:
    """Whether a function of this name may hand out a model: `load_model`, `get_net`."""
    return bool(PREPARING & set(words(name)[:1]))


def has_words(name: str, vocabulary: frozenset[str]) -> bool:
    """Whether any word of the name is in the vocabulary."""
    return any(w in vocabulary for w in words(name))


NOT_GENERATED = frozenset(
    "code config configs report reports docs file files name names id ids key keys html data dataset datasets schema anchors anchor grid"
    " mask masks noise script table summary plan split splits batch batches args command url token uuid hash signature stub".split()
)


def speaks_of(name: str, vocabulary: frozenset[str]) -> bool:
    """`has_words` for what a function does: one that generates code, a report or data does not run a model for it."""
    said = set(words(name))
    if said & {"generate", "generation", "sample", "sampling"} and said & NOT_GENERATED:
        said -= {"generate", "generation", "sample", "sampling"}
    if said & {"action", "actions"}:
        said -= {"evaluate", "eval", "evaluation"}  # what a policy thinks of its actions: training asks
    if said & FIELDS:
        said -= {"inference"}
    return bool(said & vocabulary)


FIELDS = frozenset("language variational causal bayesian amortized amortised statistical textual".split())
"""Words before "inference" where it is a task or a field, and no prediction."""
SHOWING = frozenset("image images imshow plot save figure grid video audio embedding".split())


def is_shown(name: str) -> bool:
    """A call that shows or saves what it is handed."""
    return has_words(name, SHOWING)
