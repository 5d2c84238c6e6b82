"""The layer: a linear map that keeps a sketch of its input. Needs torch and nothing of the command line."""

from rmmbench.nn.conv1d import RMMConv1D as RMMConv1D
from rmmbench.nn.convert import convert as convert
from rmmbench.nn.convert import converted_layers as converted_layers
from rmmbench.nn.convert import exact_layers as exact_layers
from rmmbench.nn.functional import rmm_linear as rmm_linear
from rmmbench.nn.linear import RMMLinear as RMMLinear
from rmmbench.nn.seeds import manual_seed as manual_seed
