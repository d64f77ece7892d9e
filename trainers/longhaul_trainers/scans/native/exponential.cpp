// exp(A) of skew-symmetric matrices A, given by their entries above the diagonal, row after row.
//
// A is halved until its eigenvalues have a modulus of at most 1, a polynomial of degree 8 is
// evaluated by three products, its value squared as often as A was halved. The backward pass is
// that of these products in reverse order, on transposed gradients, whose factors are then all
// products' own: the gradient C^T of C = A B gives B C^T to A^T and C^T A to B^T.

#include "square.hpp"

namespace {

// Chebyshev's expansion of e^x on the imaginary numbers of modulus up to 1, cut after degree 8,
// which leaves 1.1e-8, in the form of Bader, Blanes, Casas, "Computing the Matrix Exponential with
// an Optimized Taylor Polynomial Approximation", Mathematics 7(12), 2019, equation 12:
// X4 = X2 (x1 X + x2 X2), y0 + y1 X + y2 X2 + (x3 X2 + X4) (x4 + x5 X + x6 X2 + x7 X4).
constexpr float x1 = 0.10526729741640366f, x2 = 0.0264087775065876f, x3 = 2.0f / 3,
                x4 = 0.5466553834743579f, x5 = 0.16368070008731425f, x6 = 0.0149995950644578f,
                x7 = 0.03458615900567687f, y0 = 0.9999999994728758f, y1 = 0.999999905249434f,
                y2 = 0.1355630513054792f;

// Places of one slot's tape: X, X2, X4, then the polynomial's value and its squares.
constexpr int64_t kX = 0, kX2 = 1, kX4 = 2, kRoots = 3;

int64_t halvings_for(float bound) {
  if (!std::isfinite(bound) || bound <= 1) return 0;
  return static_cast<int64_t>(std::ceil(std::log2(bound)));
}

class Exponential {
 public:
  Exponential(int64_t size, int64_t threads, float* tape)
      : of_(size, threads), tape_(tape), first_(of_.count), second_(of_.count) {}

  // Returns how often A is halved; nothing else where the tape has no room for so many squares.
  int64_t forward(int64_t room, const float* upper, float* result) {
    fill(upper, at(kX));
    of_.multiply(at(kX), at(kX), nullptr, at(kX2));
    // the squares of the eigenvalues are at most this norm of A^2
    const int64_t halvings = halvings_for(std::sqrt(of_.infinity_norm(at(kX2))));
    if (halvings > room) return halvings;
    const float scale = std::ldexp(1.0f, -static_cast<int>(halvings)), square = scale * scale;
    float *const X = at(kX), *const X2 = at(kX2), *const factor = first_.get();
    for (int64_t i = 0; i < of_.count; ++i) {
      X[i] *= scale;
      X2[i] *= square;
    }
    inner(factor);
    of_.multiply(X2, factor, nullptr, at(kX4));
    float *const left = first_.get(), *const right = second_.get(), *const begin = at(kRoots);
    outer(left, right);
    for (int64_t i = 0; i < of_.count; ++i) begin[i] = y1 * X[i] + y2 * X2[i];
    add_diagonal(y0, begin);
    of_.multiply(left, right, begin, begin);
    for (int64_t k = 0; k < halvings; ++k)
      of_.multiply(at(kRoots + k), at(kRoots + k), nullptr, at(kRoots + k + 1));
    gather<float>(of_.size, of_.size, of_.stride, at(kRoots + halvings), result);
    return halvings;
  }

  void backward(int64_t halvings, const float* given, float* by_upper) {
    const int64_t size = of_.size, stride = of_.stride, count = of_.count;
    Room<float> third(count), fourth(count), fifth(count);
    float *K = first_.get(), *next = second_.get();
    of_.blockwise([=](int64_t i, int64_t j) { K[i * stride + j] = given[j * size + i]; });
    of_.clear_padding(K);
    for (int64_t k = halvings - 1; k >= 0; --k) {
      const float* const root = at(kRoots + k);
      of_.multiply(root, K, nullptr, next);
      of_.multiply(K, root, next, next);
      std::swap(K, next);
    }
    const float *const X = at(kX), *const X2 = at(kX2);
    float *const left = third.get(), *const right = fourth.get(), *const spare = fifth.get();
    outer(left, right);
    float *const by_left = next, *const by_right = spare;
    of_.multiply(right, K, nullptr, by_left);
    of_.multiply(K, left, nullptr, by_right);
    float *const by_X = third.get(), *const by_X2 = fourth.get(), *const by_X4 = by_left;
    for (int64_t i = 0; i < count; ++i) {
      by_X[i] = y1 * K[i] + x5 * by_right[i];
      by_X2[i] = y2 * K[i] + x3 * by_left[i] + x6 * by_right[i];
      by_X4[i] = by_left[i] + x7 * by_right[i];
    }
    float *const factor = K, *const by_factor = spare;
    inner(factor);
    of_.multiply(factor, by_X4, by_X2, by_X2);
    of_.multiply(by_X4, X2, nullptr, by_factor);
    for (int64_t i = 0; i < count; ++i) {
      by_X[i] += x1 * by_factor[i];
      by_X2[i] += x2 * by_factor[i];
    }
    // Of the gradient by X only the skew-symmetric part counts; that of X2 = X X is X S + S X =
    // X S - (X S)^T for the symmetric part S of the gradient by X2.
    float* const symmetric = K;
    of_.blockwise([=](int64_t i, int64_t j) {
      symmetric[i * stride + j] = by_X2[i * stride + j] + by_X2[j * stride + i];
    });
    of_.clear_padding(symmetric);
    of_.multiply(X, symmetric, by_X, by_X);
    const float scale = std::ldexp(1.0f, -static_cast<int>(halvings));
    of_.blockwise([=](int64_t i, int64_t j) {
      if (i < j)
        by_upper[before(i) + j] = scale * (by_X[j * stride + i] - by_X[i * stride + j]);
    });
  }

 private:
  float* at(int64_t place) const { return tape_ + place * of_.count; }

  // Where the entries of row i would begin, were there those up to the diagonal.
  int64_t before(int64_t i) const { return i * of_.size - (i + 1) * (i + 2) / 2; }

  void fill(const float* upper, float* A) const {
    const int64_t stride = of_.stride;
    for (int64_t i = 0; i < of_.size; ++i) {
      const int64_t columns = of_.size - i - 1;
      A[i * stride + i] = 0;
      std::memcpy(static_cast<void*>(A + i * stride + i + 1), upper + before(i) + i + 1,
                  columns * sizeof(float));
    }
    of_.blockwise([=](int64_t i, int64_t j) {
      if (i > j) A[i * stride + j] = -A[j * stride + i];
    });
    of_.clear_padding(A);
  }

  void inner(float* factor) const {
    const float *const X = at(kX), *const X2 = at(kX2);
    for (int64_t i = 0; i < of_.count; ++i) factor[i] = x1 * X[i] + x2 * X2[i];
  }

  void outer(float* left, float* right) const {
    const float *const X = at(kX), *const X2 = at(kX2), *const X4 = at(kX4);
    for (int64_t i = 0; i < of_.count; ++i) {
      left[i] = x3 * X2[i] + X4[i];
      right[i] = x5 * X[i] + x6 * X2[i] + x7 * X4[i];
    }
    add_diagonal(x4, right);
  }

  void add_diagonal(float value, float* a) const {
    for (int64_t i = 0; i < of_.size; ++i) a[i * (of_.stride + 1)] += value;
  }

  const Squares<float> of_;
  float* const tape_;
  const Room<float> first_, second_;
};

int64_t tape_size(int64_t size, int64_t room) {
  return (kRoots + 1 + room) * size * padded<float>(size);
}

}  // namespace

// How many numbers one slot's tape holds, of a matrix that is halved at most `room` times.
extern "C" int64_t exponential_tape(int64_t size, int64_t room) { return tape_size(size, room); }

// upper (P, H (H - 1) / 2), result (P, H, H), halvings (P). Where one of these is above `room`, there
// is no result, and another call with as much room has to follow.
extern "C" void exponential_forward(int64_t slots, int64_t size, int64_t threads, int64_t room,
                                    const float* upper, float* tape, float* result,
                                    int64_t* halvings) {
  each_slot(slots, threads, [=](int64_t p, int64_t mine) {
    halvings[p] = Exponential(size, mine, tape + p * tape_size(size, room))
                      .forward(room, upper + p * (size * (size - 1) / 2), result + p * size * size);
  });
}

extern "C" void exponential_backward(int64_t slots, int64_t size, int64_t threads, int64_t room,
                                     const float* tape, const int64_t* halvings,
                                     const float* given, float* by_upper) {
  each_slot(slots, threads, [=](int64_t p, int64_t mine) {
    Exponential(size, mine, const_cast<float*>(tape) + p * tape_size(size, room))
        .backward(halvings[p], given + p * size * size, by_upper + p * (size * (size - 1) / 2));
  });
}
