#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/device.cuh"
bool sf_hopper_built(void) { return false; }
