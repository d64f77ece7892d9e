// Numbers that carry their derivatives by N variables along, so that a function written once gives
// both.

#pragma once

#include "scan.hpp"

namespace {

template <class R, int N> struct Dual {
  R value;
  R by[N];

  static Dual variable(R value, int which) {
    Dual x;
    x.value = value;
    for (int n = 0; n < N; ++n) x.by[n] = n == which ? R(1) : R(0);
    return x;
  }
};

// f(x), of which value and slope are known
template <class R, int N> Dual<R, N> chain(R value, R slope, const Dual<R, N>& x) {
  Dual<R, N> y;
  y.value = value;
  for (int n = 0; n < N; ++n) y.by[n] = slope * x.by[n];
  return y;
}

template <class R, int N> Dual<R, N> operator+(const Dual<R, N>& x, const Dual<R, N>& y) {
  Dual<R, N> z;
  z.value = x.value + y.value;
  for (int n = 0; n < N; ++n) z.by[n] = x.by[n] + y.by[n];
  return z;
}

template <class R, int N> Dual<R, N> operator-(const Dual<R, N>& x, const Dual<R, N>& y) {
  Dual<R, N> z;
  z.value = x.value - y.value;
  for (int n = 0; n < N; ++n) z.by[n] = x.by[n] - y.by[n];
  return z;
}

template <class R, int N> Dual<R, N> operator*(const Dual<R, N>& x, const Dual<R, N>& y) {
  Dual<R, N> z;
  z.value = x.value * y.value;
  for (int n = 0; n < N; ++n) z.by[n] = x.by[n] * y.value + x.value * y.by[n];
  return z;
}

template <class R, int N> Dual<R, N> tanh_of(const Dual<R, N>& x) {
  const R value = tanh_of(x.value);
  return chain(value, 1 - value * value, x);
}

template <class R, int N> Dual<R, N> sigmoid_of(const Dual<R, N>& x) {
  const R value = sigmoid_of(x.value);
  return chain(value, value * (1 - value), x);
}

// 1 - x
template <class R, int N> Dual<R, N> rest_of(const Dual<R, N>& x) {
  return chain(1 - x.value, R(-1), x);
}
inline float rest_of(float x) { return 1 - x; }
inline double rest_of(double x) { return 1 - x; }

// sign(z) max(|z| + threshold, 0)
template <class R> R modrelu(R z, R threshold) {
  const R modulus = std::fabs(z) + threshold;
  const R shrunk = std::copysign(modulus < 0 ? R(0) : modulus, z);
  return z == 0 ? R(0) : shrunk;
}

template <class R, int N> Dual<R, N> modrelu(const Dual<R, N>& z, const Dual<R, N>& threshold) {
  Dual<R, N> y;
  y.value = modrelu(z.value, threshold.value);
  const R slope = y.value != 0 ? R(1) : R(0);
  const R sign = y.value == 0 ? R(0) : std::copysign(R(1), z.value);
  for (int n = 0; n < N; ++n) y.by[n] = slope * z.by[n] + sign * threshold.by[n];
  return y;
}

}  // namespace
