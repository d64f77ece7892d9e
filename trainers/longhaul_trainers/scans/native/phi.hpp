// The nonlinearities that the compiled scans have; phi(0) = 0 keeps the padding 0.

#pragma once

#include "scan.hpp"

namespace {

enum Phi { kIdentity = 0, kTanh = 1, kReLU = 2, kLeakyReLU = 3, kModReLU = 4 };

template <class R> void apply(int64_t phi, int64_t size, const R* parameter, R* z) {
  switch (phi) {
    case kTanh:
      for (int64_t i = 0; i < size; ++i) z[i] = tanh_of(z[i]);
      break;
    case kReLU:
      for (int64_t i = 0; i < size; ++i) z[i] = z[i] < 0 ? R(0) : z[i];
      break;
    case kLeakyReLU:
      for (int64_t i = 0; i < size; ++i) z[i] = z[i] < 0 ? z[i] * parameter[i] : z[i];
      break;
    case kModReLU:
      for (int64_t i = 0; i < size; ++i) {
        const R modulus = std::fabs(z[i]) + parameter[i];
        const R shrunk = std::copysign(modulus < 0 ? R(0) : modulus, z[i]);
        z[i] = z[i] == 0 ? R(0) : shrunk;
      }
      break;
  }
}

// gradient *= phi'(z), told from output = phi(z)
template <class R>
void pull_back(int64_t phi, int64_t size, const R* parameter, const R* output, R* gradient) {
  switch (phi) {
    case kTanh:
      for (int64_t i = 0; i < size; ++i) gradient[i] *= R(1) - output[i] * output[i];
      break;
    case kReLU:
      for (int64_t i = 0; i < size; ++i) gradient[i] *= output[i] > 0 ? R(1) : R(0);
      break;
    case kLeakyReLU:
      for (int64_t i = 0; i < size; ++i) gradient[i] *= output[i] > 0 ? R(1) : parameter[i];
      break;
    case kModReLU:
      for (int64_t i = 0; i < size; ++i) gradient[i] *= output[i] != 0 ? R(1) : R(0);
      break;
  }
}

// sum += gradient sign(output): the gradient by modReLU's bias
template <class R>
void add_signed(int64_t size, const R* output, const R* gradient, R* sum) {
  for (int64_t i = 0; i < size; ++i)
    sum[i] += output[i] > 0 ? gradient[i] : output[i] < 0 ? -gradient[i] : R(0);
}

}  // namespace
