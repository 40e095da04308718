// A program that grows its own cache hands over what is filled of it: a block of a larger matrix,
// read where it lies. softlook::kv_cache keeps one for those who have none.
//
// Run: growing_cache
//
// expect: 20 steps, 0 differences
#include <cstdio>
#include <softlook/attention.hpp>
#include <softlook/cache.hpp>

int main() {
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const matrix Q = matrix::Random(20, 4 * 32), K = matrix::Random(20, 2 * 32),
               V = matrix::Random(20, 2 * 32);
  matrix my_keys(1024, 2 * 32), my_values(1024, 2 * 32);  // the program's own, rows of all heads
  softlook::kv_cache<float> cache({.heads = 2, .key_features = 32, .value_features = 32});
  long differences = 0;
  for (int step = 0; step < 20; ++step) {
    my_keys.row(step) = K.row(step), my_values.row(step) = V.row(step);
    cache.append(K.row(step), V.row(step));
    const auto own =
        softlook::attention(Q.row(step), my_keys.topRows(step + 1), my_values.topRows(step + 1),
                            softlook::heads{.query = 4, .kv = 2});
    differences += (own.array() != cache.attend(Q.row(step)).array()).count();
  }
  std::printf("20 steps, %ld differences\n", differences);
}
