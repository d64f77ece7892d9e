// Scans of cells whose step is one product with the state and a function of each unit, of P slots.
//
// A cell is a struct with that function and, for each unit, the numbers of
//   kProducts  rows of U: z = U h,
//   kAdded     the first of them, to which inputs are added: z = U h + x,
//   kInputs    inputs: those, and others that the function reads by themselves,
//   kUnits     parameters,
//   kStates    states, of which h is the first.
// Arrays have them one after the other in each row: U (P, kProducts H, H), units (P, kUnits H),
// inputs (P, T, B, kInputs H), products (P, T, B, kProducts H), states (P, T + 1, B, kStates H).

#pragma once

#include "dual.hpp"
#include "rows.hpp"

namespace {

struct FastGRNN {
  static constexpr int kProducts = 1, kAdded = 1, kInputs = 1, kUnits = 4, kStates = 1;
  template <class X>
  static void step(const X* z, const X*, const X* unit, const X* state, X* next) {
    const X gate = sigmoid_of(z[0] + unit[0]), candidate = tanh_of(z[0] + unit[1]);
    next[0] = gate * state[0] + (unit[2] * rest_of(gate) + unit[3]) * candidate;
  }
};

struct GORU {
  static constexpr int kProducts = 3, kAdded = 2, kInputs = 3, kUnits = 1, kStates = 1;
  template <class X>
  static void step(const X* z, const X* input, const X* unit, const X* state, X* next) {
    const X r = sigmoid_of(z[0]), g = sigmoid_of(z[1]);
    const X candidate = modrelu(r * z[2] + input[0], unit[0]);
    next[0] = candidate + g * (state[0] - candidate);
  }
};

struct SRU {
  static constexpr int kProducts = 0, kAdded = 0, kInputs = 2, kUnits = 2, kStates = 1;
  template <class X>
  static void step(const X*, const X* input, const X* unit, const X* state, X* next) {
    const X forget = sigmoid_of(input[1] + unit[0] * state[0] + unit[1]);
    next[0] = input[0] + forget * (state[0] - input[0]);
  }
};

// The gate g, or g^2 + 2 r g (1 - g) with its refine gate r.
template <bool refined, class X> X effective_gate(const X* z) {
  const X g = sigmoid_of(z[0]);
  if constexpr (refined) {
    const X r = sigmoid_of(z[1]);
    return g * (g + (r + r) * rest_of(g));
  }
  return g;
}

template <bool refined> struct URGRU {
  static constexpr int kProducts = 3 + refined, kAdded = 2 + refined, kInputs = 3 + refined,
                       kUnits = 1, kStates = 1;
  template <class X>
  static void step(const X* z, const X* input, const X* unit, const X* state, X* next) {
    const X g = effective_gate<refined>(z), s = sigmoid_of(z[1 + refined]);
    const X candidate = tanh_of(input[0] + s * (z[2 + refined] + unit[0]));
    next[0] = candidate + g * (state[0] - candidate);
  }
};

template <bool refined> struct URLSTM {
  static constexpr int kProducts = 3 + refined, kAdded = kProducts, kInputs = kProducts, kUnits = 0,
                       kStates = 2;
  template <class X>
  static void step(const X* z, const X*, const X*, const X* state, X* next) {
    const X g = effective_gate<refined>(z), update = tanh_of(z[1 + refined]);
    next[1] = update + g * (state[1] - update);
    next[0] = sigmoid_of(z[2 + refined]) * tanh_of(next[1]);
  }
};

template <class R, class Cell> struct Gated {
  static constexpr int G = Cell::kProducts, A = Cell::kAdded, I = Cell::kInputs, E = I - A,
                       K = Cell::kUnits, S = Cell::kStates, N = G + E + K + S;
  int64_t steps, batch, size;

  // Fills products and states, whose step 0 is given.
  void forward(int64_t first, int64_t last, const R* U, const R* units, const R* inputs,
               R* products, R* states) const {
    const Rows<R> rows(size);
    const int64_t width = rows.width, count = last - first;
    Panels<R> transposed(G ? size : 0, G * width, [=](int64_t k, int64_t j) {
      return j % width < size ? U[(j / width * size + j % width) * size + k] : R(0);
    });
    Buffer<R> unit(K * width), h(rows.spare(count * S)), z(rows.spare(count * G)),
        added(rows.spare(E)), next(rows.spare(S));
    spread<R>(K, size, width, units, unit.get());
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t at = t * batch + first;
      const R* const before = rows.read(states + at * S * size, h.get(), count * S);
      R* const now = rows.place(products + at * G * size, z.get());
      for (int64_t b = 0; b < count && G; ++b) {
        spread<R>(A, size, width, inputs + (at + b) * I * size, now + b * G * width);
        std::fill(now + (b * G + A) * width, now + (b + 1) * G * width, R(0));
      }
      if (G) transposed.multiply_add(count, before, S * width, now, G * width);
      for (int64_t b = 0; b < count; ++b) {
        R* const outside = states + (at + batch + b) * S * size;
        R* const after = rows.place(outside, next.get());
        const R* const others = rows.read(inputs + ((at + b) * I + A) * size, added.get(), E);
        advance(width, now + b * G * width, others, unit.get(), before + b * S * width, after);
        rows.finish(after, outside, S);
      }
      rows.finish(now, products + at * G * size, count * G);
    }
  }

  // by_outputs (P, T, B, H): the loss's gradients by h of each step; by_state (P, B, kStates H): by
  // the last states besides, which becomes that by the first. Filled are those by the products and
  // by the inputs that are not added to one (P, T, B, (kInputs - kAdded) H), and each row's share of
  // those by the units, (P, B, kUnits H).
  void backward(int64_t first, int64_t last, const R* U, const R* units, const R* inputs,
                const R* products, const R* states, const R* by_outputs, R* by_products,
                R* by_others, R* by_units, R* by_state) const {
    const Rows<R> rows(size);
    const int64_t width = rows.width, count = last - first;
    Panels<R> straight(G * width, G ? size : 0, [=](int64_t k, int64_t j) {
      return k % width < size ? U[(k / width * size + k % width) * size + j] : R(0);
    });
    Buffer<R> unit(K * width), carried(count * S * width), sums(count * K * width),
        h(rows.spare(S)), z(rows.spare(G)), added(rows.spare(E)), output(rows.spare(1)),
        slope(rows.spare(count * G)), other(rows.spare(E));
    spread<R>(K, size, width, units, unit.get());
    spread<R>(count * S, size, width, by_state + first * S * size, carried.get());
    for (int64_t t = steps; t-- > 0;) {
      const int64_t at = t * batch + first;
      R* const by_z = rows.place(by_products + at * G * size, slope.get());
      for (int64_t b = 0; b < count; ++b) {
        R* const outside = by_others + (at + b) * E * size;
        R* const by_other = rows.place(outside, other.get());
        retreat(width, rows.read(products + (at + b) * G * size, z.get(), G),
                rows.read(inputs + ((at + b) * I + A) * size, added.get(), E), unit.get(),
                rows.read(states + (at + b) * S * size, h.get(), S),
                rows.read(by_outputs + (at + b) * size, output.get()), by_z + b * G * width,
                by_other, sums.get() + b * K * width, carried.get() + b * S * width);
        rows.finish(by_other, outside, E);
      }
      if (G) straight.multiply_add(count, by_z, G * width, carried.get(), S * width);
      rows.finish(by_z, by_products + at * G * size, count * G);
    }
    gather<R>(count * S, size, width, carried.get(), by_state + first * S * size);
    gather<R>(count * K, size, width, sums.get(), by_units + first * K * size);
  }

 private:
  static void advance(int64_t width, const R* __restrict z, const R* __restrict input,
                      const R* __restrict unit, const R* __restrict state, R* __restrict next) {
    for (int64_t u = 0; u < width; ++u) {
      R numbers[N], after[S];
      for (int i = 0; i < G; ++i) numbers[i] = z[i * width + u];
      for (int i = 0; i < E; ++i) numbers[G + i] = input[i * width + u];
      for (int i = 0; i < K; ++i) numbers[G + E + i] = unit[i * width + u];
      for (int i = 0; i < S; ++i) numbers[G + E + K + i] = state[i * width + u];
      Cell::step(numbers, numbers + G, numbers + G + E, numbers + G + E + K, after);
      for (int i = 0; i < S; ++i) next[i * width + u] = after[i];
    }
  }

  // carried: the gradients by the states after the step on entry, by those before on return.
  static void retreat(int64_t width, const R* __restrict z, const R* __restrict input,
                      const R* __restrict unit, const R* __restrict state,
                      const R* __restrict output, R* __restrict by_z, R* __restrict by_input,
                      R* __restrict by_unit, R* __restrict carried) {
    using X = Dual<R, N>;
    for (int64_t u = 0; u < width; ++u) {
      X numbers[N], after[S];
      for (int i = 0; i < G; ++i) numbers[i] = X::variable(z[i * width + u], i);
      for (int i = 0; i < E; ++i) numbers[G + i] = X::variable(input[i * width + u], G + i);
      for (int i = 0; i < K; ++i) numbers[G + E + i] = X::variable(unit[i * width + u], G + E + i);
      for (int i = 0; i < S; ++i)
        numbers[G + E + K + i] = X::variable(state[i * width + u], G + E + K + i);
      Cell::step(numbers, numbers + G, numbers + G + E, numbers + G + E + K, after);
      R by[N];
      for (int n = 0; n < N; ++n) by[n] = (carried[u] + output[u]) * after[0].by[n];
      for (int i = 1; i < S; ++i)
        for (int n = 0; n < N; ++n) by[n] += carried[i * width + u] * after[i].by[n];
      for (int i = 0; i < G; ++i) by_z[i * width + u] = by[i];
      for (int i = 0; i < E; ++i) by_input[i * width + u] = by[G + i];
      for (int i = 0; i < K; ++i) by_unit[i * width + u] += by[G + E + i];
      for (int i = 0; i < S; ++i) carried[i * width + u] = by[G + E + K + i];
    }
  }
};

// Calls work with the cell that has this number.
template <class Work> void with_cell(int64_t cell, Work work) {
  switch (cell) {
    case 0: return work(FastGRNN{});
    case 1: return work(GORU{});
    case 2: return work(SRU{});
    case 3: return work(URGRU<false>{});
    case 4: return work(URGRU<true>{});
    case 5: return work(URLSTM<false>{});
    case 6: return work(URLSTM<true>{});
  }
}

template <class R>
void gated_forward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                   int64_t cell, const R* U, const R* units, const R* inputs, R* products,
                   R* states) {
  with_cell(cell, [=](auto one) {
    using Scan = Gated<R, decltype(one)>;
    each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
      const int64_t step = batch * size, all = steps * step;
      Scan{steps, batch, size}.forward(first, last, U + p * Scan::G * size * size,
                                       units + p * Scan::K * size, inputs + p * Scan::I * all,
                                       products + p * Scan::G * all,
                                       states + p * Scan::S * (all + step));
    });
  });
}

template <class R>
void gated_backward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                    int64_t cell, const R* U, const R* units, const R* inputs, const R* products,
                    const R* states, const R* by_outputs, R* by_products, R* by_others, R* by_units,
                    R* by_state) {
  with_cell(cell, [=](auto one) {
    using Scan = Gated<R, decltype(one)>;
    each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
      const int64_t step = batch * size, all = steps * step;
      Scan{steps, batch, size}.backward(
          first, last, U + p * Scan::G * size * size, units + p * Scan::K * size,
          inputs + p * Scan::I * all, products + p * Scan::G * all,
          states + p * Scan::S * (all + step), by_outputs + p * all,
          by_products + p * Scan::G * all, by_others + p * Scan::E * all,
          by_units + p * Scan::K * step, by_state + p * Scan::S * step);
    });
  });
}

}  // namespace

#define LONGHAUL_GATED(R, suffix)                                                                 \
  extern "C" void gated_forward_##suffix(int64_t slots, int64_t steps, int64_t batch,             \
                                         int64_t size, int64_t threads, int64_t cell, const R* U, \
                                         const R* units, const R* inputs, R* products,            \
                                         R* states) {                                             \
    gated_forward<R>(slots, steps, batch, size, threads, cell, U, units, inputs, products,        \
                     states);                                                                     \
  }                                                                                               \
  extern "C" void gated_backward_##suffix(                                                        \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t cell,   \
      const R* U, const R* units, const R* inputs, const R* products, const R* states,            \
      const R* by_outputs, R* by_products, R* by_others, R* by_units, R* by_state) {              \
    gated_backward<R>(slots, steps, batch, size, threads, cell, U, units, inputs, products,       \
                      states, by_outputs, by_products, by_others, by_units, by_state);            \
  }
