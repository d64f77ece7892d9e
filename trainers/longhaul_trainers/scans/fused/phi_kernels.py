"""The nonlinearities of the Triton scans, numbered as `Nonlinearity.compiled` numbers them."""

import triton
import triton.language as tl

IDENTITY = tl.constexpr(0)
TANH = tl.constexpr(1)
RELU = tl.constexpr(2)
LEAKY_RELU = tl.constexpr(3)
MODRELU = tl.constexpr(4)
CODES = (0, 1, 2, 3, 4)


@triton.jit
def phi(z, parameter, PHI: tl.constexpr):
    """The nonlinearity; 0 goes to 0, which keeps padding 0, and NaN to NaN."""
    if PHI == TANH:
        z = tanh(z)
    if PHI == RELU:
        z = tl.where(z < 0, 0.0, z)
    if PHI == LEAKY_RELU:
        z = tl.where(z < 0, z * parameter, z)
    if PHI == MODRELU:
        modulus = tl.abs(z) + parameter
        shrunk = tl.where(modulus < 0, 0.0, modulus)
        z = tl.where(z < 0, -shrunk, tl.where(z == 0, 0.0, shrunk))
    return z


@triton.jit
def pulled_back(gradient, output, parameter, PHI: tl.constexpr):
    """The gradient by z from that by phi(z), told from ``output`` = phi(z)."""
    if PHI == TANH:
        gradient = gradient * (1 - output * output)
    if PHI == RELU:
        gradient = gradient * tl.where(output > 0, 1.0, 0.0)
    if PHI == LEAKY_RELU:
        gradient = gradient * tl.where(output > 0, 1.0, parameter)
    if PHI == MODRELU:
        gradient = gradient * tl.where(output != 0, 1.0, 0.0)
    return gradient


@triton.jit
def tanh(z):
    """Odd polynomials near 0, where the exponential's form would cancel; else that form.

    Reference: Moshier, Cephes Mathematical Library, tanhf.c and tanh.c.
    """
    modulus = tl.abs(z)
    s = z * z
    if z.dtype == tl.float64:
        above = (-9.64399179425052238628e-1 * s - 9.92877231001918586564e1) * s
        above = above - 1.61468768441708447952e3
        below = ((s + 1.12811678491632931402e2) * s + 2.23548839060100448583e3) * s
        near = z + z * s * (above / (below + 4.84406305325125486048e3))
    else:
        polynomial = s * -5.70498872745e-3 + 2.06390887954e-2
        polynomial = s * polynomial - 5.37397155531e-2
        polynomial = s * polynomial + 1.33314422036e-1
        polynomial = s * polynomial - 3.33332819422e-1
        near = z + z * s * polynomial
    far = 1 - 2 / (tl.exp(2 * modulus) + 1)
    return tl.where(modulus < 0.625, near, tl.where(z < 0, -far, far))
