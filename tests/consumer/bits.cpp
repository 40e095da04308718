// Writes the bits of a few results: programs with and without softlook::compiled must agree.
#include <Eigen/Dense>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include <softlook/attention.hpp>
#include <softlook/linear.hpp>

#if defined(ONE_HEADER) && !defined(SOFTLOOK_AMALGAMATED_SOFTLOOK_SOFTLOOK_HPP)
#error "the headers were read, not the one file of them"
#endif
static_assert(SOFTLOOK_USES_COMPILED == EXPECT_COMPILED);

namespace {

template <class Matrix>
void show(const char* name, const Matrix& X) {
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (Eigen::Index i = 0; i < X.size(); ++i) {
    unsigned char bytes[sizeof(typename Matrix::Scalar)];
    std::memcpy(bytes, X.data() + i, sizeof bytes);
    for (const unsigned char byte : bytes) hash = (hash ^ byte) * 1099511628211u;
  }
  std::printf("%s %016llx\n", name, static_cast<unsigned long long>(hash));
}

template <class T>
Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> filled(Eigen::Index rows, Eigen::Index cols) {
  Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> X(rows, cols);
  for (Eigen::Index i = 0; i < X.size(); ++i) X.data()[i] = T((i * 37 + rows) % 101) / T(25) - 2;
  return X;
}

}  // namespace

int main() {
  namespace masks = softlook::masks;
  const auto Q = filled<float>(75, 24), K = filled<float>(131, 24), V = filled<float>(131, 17);
  show("causal", softlook::attention(Q, K, V, masks::causal_bottom_right{}));
  show("one query", softlook::attention(Q.topRows(1), K, V));
  show("naive", softlook::attention(Q, K, V, masks::padding{100},
                                    softlook::options{.kernel = softlook::kernel::naive}));
  show("linear", softlook::linear_attention(Q, K, V));
  const auto D = filled<double>(90, 16);
  show("window", softlook::attention(D, D, D, masks::window{.left = 20, .right = 3}));
}
