// Products of Householder reflections, given by the entries of their vectors, one after the other:
// the k-th vector has none before its k-th coordinate, so the last of as many as there are
// coordinates has one, which is a sign.
//
// In compact WY form W = I - U^T Y with the vectors as rows of U, Y = T^-1 U and
// T = striu(U U^T) + diag(U U^T) / 2. With Z = T^-T U the gradient G by W gives that by U,
// (striu(Q) + striu(Q)^T + diag(Q)) U - Y G^T - Z G with Q = Z G Y^T.

#include "square.hpp"

namespace {

// Numbers in whole vectors, summed lane by lane.
float dot(int64_t width, const float* a, const float* b) {
  constexpr int kLanes = lanes<float>();
  float sums[kLanes] = {}, total = 0;
  for (int64_t j = 0; j < width; j += kLanes)
    for (int l = 0; l < kLanes; ++l) sums[l] += a[j + l] * b[j + l];
  for (float one : sums) total += one;
  return total;
}

void subtract(int64_t width, float factor, const float* from, float* to) {
  for (int64_t j = 0; j < width; ++j) to[j] -= factor * from[j];
}

void divide(int64_t width, float by, float* row) {
  for (int64_t j = 0; j < width; ++j) row[j] /= by;
}

// One slot's factors; its tape holds U, Y (vectors, stride) and T (vectors, vectors).
class Product {
 public:
  Product(int64_t size, int64_t count, float* tape)
      : of_(size, 1),
        size_(size),
        stride_(of_.stride),
        vectors_(std::min(count, size - 1)),
        has_sign_(count == size),
        U_(tape),
        Y_(U_ + vectors_ * stride_),
        T_(Y_ + vectors_ * stride_) {}

  static int64_t tape_size(int64_t size, int64_t count) {
    const int64_t vectors = std::min(count, size - 1);
    return vectors * (2 * padded<float>(size) + vectors);
  }

  void forward(const float* entries, float* result) const {
    fill(entries);
    for (int64_t i = 0; i < vectors_; ++i) {
      for (int64_t j = i; j < vectors_; ++j) T(i, j) = dot(stride_, row(U_, i), row(U_, j));
      // a zero vector stands for no reflection
      T(i, i) = T(i, i) == 0 ? 1.0f : T(i, i) / 2;
    }
    std::memcpy(static_cast<void*>(Y_), U_, vectors_ * stride_ * sizeof(float));
    for (int64_t i = vectors_ - 1; i >= 0; --i) {
      for (int64_t j = i + 1; j < vectors_; ++j)
        subtract(stride_, T(i, j), row(Y_, j), row(Y_, i));
      divide(stride_, T(i, i), row(Y_, i));
    }
    const Room<float> negative(vectors_ * stride_), whole(of_.count);
    for (int64_t i = 0; i < vectors_ * stride_; ++i) negative.get()[i] = -Y_[i];
    std::memset(static_cast<void*>(whole.get()), 0, of_.count * sizeof(float));
    for (int64_t i = 0; i < size_; ++i) whole.get()[i * (stride_ + 1)] = 1;
    const InPanels<float> panels(vectors_, stride_);
    multiply_panels(size_, vectors_, stride_, panels.of(negative.get()), U_, 1, stride_,
                    whole.get(), stride_, whole.get(), stride_);
    gather<float>(size_, size_, stride_, whole.get(), result);
    if (has_sign_)
      for (int64_t i = 0; i < size_; ++i) result[(i + 1) * size_ - 1] *= entries[sign_place()];
  }

  void backward(const float* entries, const float* given, float* by_entries) const {
    const int64_t wide = padded<float>(vectors_), rows = vectors_ * stride_;
    const Buffer<float> nothing(std::max(wide, stride_));
    const Room<float> G(of_.count), Z(rows), turned(size_ * wide), GY(size_ * wide),
        Q(vectors_ * wide), result(rows);
    spread<float>(size_, size_, stride_, given, G.get());
    of_.clear_padding(G.get());
    if (has_sign_) by_entries[sign_place()] = sign_gradient(entries[sign_place()], G.get());
    std::memcpy(static_cast<void*>(Z.get()), U_, rows * sizeof(float));
    for (int64_t i = 0; i < vectors_; ++i) {
      for (int64_t j = 0; j < i; ++j)
        subtract(stride_, T(j, i), row(Z.get(), j), row(Z.get(), i));
      divide(stride_, T(i, i), row(Z.get(), i));
    }
    for (int64_t j = 0; j < size_; ++j)
      for (int64_t i = 0; i < wide; ++i)
        turned.get()[j * wide + i] = i < vectors_ ? row(Y_, i)[j] : 0;
    const InPanels<float> narrow(size_, wide), broad(size_, stride_);
    const float* const none = nothing.get();
    multiply_panels(size_, size_, wide, narrow.of(turned.get()), G.get(), stride_, 1, none, 0,
                    GY.get(), wide);
    multiply_panels(vectors_, size_, wide, narrow.of(GY.get()), Z.get(), stride_, 1, none, 0,
                    Q.get(), wide);
    for (int64_t i = 0; i < vectors_; ++i)
      for (int64_t j = 0; j < i; ++j) Q.get()[i * wide + j] = Q.get()[j * wide + i];
    multiply_panels(vectors_, size_, stride_, broad.of(G.get()), Z.get(), stride_, 1, none, 0,
                    result.get(), stride_);
    for (int64_t i = 0; i < rows; ++i) result.get()[i] = -result.get()[i];
    const InPanels<float> low(vectors_, stride_);
    multiply_panels(vectors_, vectors_, stride_, low.of(U_), Q.get(), wide, 1, result.get(),
                    stride_, result.get(), stride_);
    for (int64_t k = 0; k < vectors_; ++k)
      for (int64_t j = k; j < size_; ++j)
        by_entries[before(k) + j] = row(result.get(), k)[j] - GY.get()[j * wide + k];
  }

  // Scales every vector to unit length; a zero one becomes (1, 0, ...).
  void normalise(float* entries) const {
    fill(entries);
    for (int64_t k = 0; k < vectors_ + has_sign_; ++k) {
      float* const from = entries + before(k);
      const bool sign = k == vectors_;
      const float norm = sign ? std::fabs(from[k]) : std::sqrt(dot(stride_, row(U_, k), row(U_, k)));
      if (norm == 0) {
        from[k] = 1;
      } else {
        for (int64_t j = k; j < size_; ++j) from[j] /= norm;
      }
    }
  }

 private:
  float* row(float* matrix, int64_t i) const { return matrix + i * stride_; }
  float& T(int64_t i, int64_t j) const { return T_[i * vectors_ + j]; }

  // Where the entries of vector k would begin, were there those before its k-th coordinate.
  int64_t before(int64_t k) const { return k * size_ - k * (k + 1) / 2; }
  int64_t sign_place() const { return before(size_ - 1) + size_ - 1; }

  void fill(const float* entries) const {
    std::memset(static_cast<void*>(U_), 0, vectors_ * stride_ * sizeof(float));
    for (int64_t k = 0; k < vectors_; ++k)
      std::memcpy(static_cast<void*>(row(U_, k) + k), entries + before(k) + k,
                  (size_ - k) * sizeof(float));
  }

  // The gradient by the sign, by which the last column is multiplied; G becomes that without it.
  float sign_gradient(float sign, float* G) const {
    const int64_t last = size_ - 1;
    float total = 0;
    for (int64_t i = 0; i < size_; ++i) {
      float W = i == last;
      for (int64_t k = 0; k < vectors_; ++k) W -= row(U_, k)[i] * row(Y_, k)[last];
      total += G[i * stride_ + last] * W;
      G[i * stride_ + last] *= sign;
    }
    return total;
  }

  const Squares<float> of_;
  const int64_t size_, stride_, vectors_;
  const bool has_sign_;
  float *const U_, *const Y_, *const T_;
};

int64_t entry_count(int64_t size, int64_t count) { return count * size - count * (count - 1) / 2; }

}  // namespace

// How many numbers one slot's tape holds.
extern "C" int64_t reflections_tape(int64_t size, int64_t count) {
  return Product::tape_size(size, count);
}

// entries (P, m H - m (m - 1) / 2), result (P, H, H).
extern "C" void reflections_forward(int64_t slots, int64_t size, int64_t threads, int64_t count,
                                    const float* entries, float* tape, float* result) {
  each(slots, threads, [=](int64_t p) {
    Product(size, count, tape + p * Product::tape_size(size, count))
        .forward(entries + p * entry_count(size, count), result + p * size * size);
  });
}

extern "C" void reflections_backward(int64_t slots, int64_t size, int64_t threads, int64_t count,
                                     const float* entries, float* tape, const float* given,
                                     float* by_entries) {
  each(slots, threads, [=](int64_t p) {
    const int64_t mine = p * entry_count(size, count);
    Product(size, count, tape + p * Product::tape_size(size, count))
        .backward(entries + mine, given + p * size * size, by_entries + mine);
  });
}

extern "C" void reflections_normalise(int64_t slots, int64_t size, int64_t threads, int64_t count,
                                      float* entries) {
  each(slots, threads, [=](int64_t p) {
    const Room<float> tape(Product::tape_size(size, count));
    Product(size, count, tape.get()).normalise(entries + p * entry_count(size, count));
  });
}
