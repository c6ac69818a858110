"""The table of models, one line each: the name in a JSON file -> where the class lives."""

from __future__ import annotations

import importlib

from hrec.config import did_you_mean
from hrec.models.base import BaseModel

MODELS = {
    # general: ids and interactions
    "BPRMF": "hrec.models.general.bprmf:BPRMF",
    "DMF": "hrec.models.general.dmf:DMF",
    "EASE": "hrec.models.general.ease:EASE",
    "FISM": "hrec.models.general.fism:FISM",
    "ItemKNN": "hrec.models.general.itemknn:ItemKNN",
    "LightGCN": "hrec.models.general.lightgcn:LightGCN",
    "NAIS": "hrec.models.general.nais:NAIS",
    "NCF": "hrec.models.general.ncf:NCF",
    "Popularity": "hrec.models.general.popularity:Popularity",
    "WMF": "hrec.models.general.wmf:WMF",
    # context: columns of user and item
    "AFM": "hrec.models.context.afm:AFM",
    "AutoInt": "hrec.models.context.autoint:AutoInt",
    "DCN": "hrec.models.context.dcn:DCN",
    "DeepFM": "hrec.models.context.deepfm:DeepFM",
    "DSSM": "hrec.models.context.dssm:DSSM",
    "FM": "hrec.models.context.fm:FM",
    "LR": "hrec.models.context.lr:LR",
    "WideDeep": "hrec.models.context.widedeep:WideDeep",
    "xDeepFM": "hrec.models.context.xdeepfm:xDeepFM",
    "DCNv2": "hrec.models.context.dcnv2:DCNv2",
    "FinalMLP": "hrec.models.context.finalmlp:FinalMLP",
    "DIN": "hrec.models.context.din:DIN",
    # sequential: what users did in order
    "GRU4Rec": "hrec.models.sequential.gru4rec:GRU4Rec",
    "MISSRec": "hrec.models.sequential.missrec:MISSRec",
    "PGG": "hrec.models.sequential.pgg:PGG",
    "SASRec": "hrec.models.sequential.sasrec:SASRec",
    "CB2CF": "hrec.models.sequential.cb2cf:CB2CF",
    "CoOccurrence": "hrec.models.sequential.cooccurrence:CoOccurrence",
    "Item2Vec": "hrec.models.sequential.item2vec:Item2Vec",
    "TextVectors": "hrec.models.sequential.text_vectors:TextVectors",
    "UniEmbedding": "hrec.models.sequential.uniembedding:UniEmbedding",
    "UniSRec": "hrec.models.sequential.unisrec:UniSRec",
    "VQRec": "hrec.models.sequential.vqrec:VQRec",
    # content: texts, images and other columns of items
    "BPRHFT": "hrec.models.content.bpr_hft:BPRHFT",
    "CDL": "hrec.models.content.cdl:CDL",
    "CKE": "hrec.models.content.cke:CKE",
    "DeepCoNN": "hrec.models.content.deepconn:DeepCoNN",
    "DualNet": "hrec.models.content.dualnet:DualNet",
    "FREEDOM": "hrec.models.content.freedom:FREEDOM",
    "UAE": "hrec.models.content.uae:UAE",
    "VBPR": "hrec.models.content.vbpr:VBPR",
    # views: several sources of information, each with its own vectors
    "JRL": "hrec.models.views.jrl:JRL",
    "eJRL": "hrec.models.views.ejrl:eJRL",
    # hetero: several kinds, each with its own columns
    "CCCF": "hrec.models.hetero.cccf:CCCF",
    "DDTCDR": "hrec.models.hetero.ddtcdr:DDTCDR",
    "DURation": "hrec.models.hetero.duration:DURation",
    # cross_domain: several kinds that share their users, no columns
    "BiTGCF": "hrec.models.cross_domain.bitgcf:BiTGCF",
    "CATART": "hrec.models.cross_domain.cat_art:CATART",
    "CMF": "hrec.models.cross_domain.cmf:CMF",
    "GAMTCDR": "hrec.models.cross_domain.ga_mtcdr:GAMTCDR",
    "HeroGRAPH": "hrec.models.cross_domain.herograph:HeroGRAPH",
    "MPF": "hrec.models.cross_domain.mpf:MPF",
    "SMF": "hrec.models.cross_domain.smf:SMF",
}


def find_model(name: str) -> type[BaseModel]:
    """The class of a model. Raises KeyError with a sentence that suggests the nearest name."""
    if name not in MODELS:
        raise KeyError(f"no model called '{name}'.{did_you_mean(name, MODELS)} Models: {', '.join(MODELS)}")
    module, cls = MODELS[name].split(":")
    return getattr(importlib.import_module(module), cls)
