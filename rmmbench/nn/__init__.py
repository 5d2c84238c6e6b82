"""The layer: a linear map that keeps a sketch of its input. It needs torch and no more."""

from rmmbench.nn.candidates import left_out_layers as left_out_layers
from rmmbench.nn.conv1d import RMMConv1D as RMMConv1D
from rmmbench.nn.conversion import convert as convert
from rmmbench.nn.conversion import converted_layers as converted_layers
from rmmbench.nn.conversion import exact_layers as exact_layers
from rmmbench.nn.functional import rmm_linear as rmm_linear
from rmmbench.nn.layer import RMMLinear as RMMLinear
from rmmbench.nn.seeds import manual_seed as manual_seed
