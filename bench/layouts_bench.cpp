// What does a layout cost? relative_time is the row's time over that of the same call on row-major
// matrices without gaps; at most 1.05 is wanted.

#include "support/forward.hpp"

namespace {

using bench::index;
using bench::matrix;
using bench::shape;

/// column_major; head: of eight that lie beside each other in a row; padded: each row ends in a
/// cache line that is not used.
enum class layout { column_major, head, padded };

template <int Order>
using map = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Order>, 0,
                       Eigen::OuterStride<>>;

template <int Order>
class placed {
 public:
  placed(const matrix<float>& x, index gap, index offset)
      : outer_((Order == Eigen::RowMajor ? x.cols() : x.rows()) + gap),
        memory_(std::size_t(outer_ * (Order == Eigen::RowMajor ? x.rows() : x.cols()))),
        view(memory_.data() + offset, x.rows(), x.cols(), Eigen::OuterStride<>(outer_)) {
    view = x;
  }
  placed(const placed&) = delete;

 private:
  index outer_;
  std::vector<float> memory_;

 public:
  map<Order> view;
};

template <int Order>
struct operands {
  placed<Order> Q, K, V, O;
  operands(const bench::dot_inputs<float>& in, index gap, index offset)
      : Q(in.Q, gap, offset),
        K(in.K, gap, offset),
        V(in.V, gap, offset),
        O(matrix<float>::Zero(in.Q.rows(), in.V.cols()), gap, offset) {}
};

template <class X, class Y>
void attend(const shape& s, const X& Q, const X& K, const X& V, Y& O) {
  if (s.heads > 1)
    softlook::attention_into(Q, K, V, O, softlook::heads{.query = s.heads});
  else
    softlook::attention_into(Q, K, V, O);
}

template <int Order>
[[nodiscard]] bench::prepared_row prepare(const shape& s, index gap, index offset) {
  const auto in = bench::dot_inputs<float>::of(s);
  const auto laid_out = std::make_shared<operands<Order>>(*in, gap, offset);
  const auto plain = std::make_shared<matrix<float>>(s.n, s.heads * s.d);
  bench::prepared_row work;
  work.call = [s, x = laid_out] { attend(s, x->Q.view, x->K.view, x->V.view, x->O.view); };
  work.error = [s, in, x = laid_out] {
    return bench::dot_error<float>(*in, matrix<float>(x->O.view), s);
  };
  work.tolerance = bench::tolerance<float>();
  work.others.push_back({.call = [s, in, plain] { attend(s, in->Q, in->K, in->V, *plain); }});
  return work;
}

[[nodiscard]] bench::row layout_row(layout how, const shape& s) {
  constexpr index line = 16;  // floats in a cache line
  bench::row r = bench::dot_row<float>(bench::path::automatic, s);
  switch (how) {
    case layout::column_major:
      r.name += "/column-major";
      r.prepare = [s] { return prepare<Eigen::ColMajor>(s, 0, 0); };
      break;
    case layout::head:
      r.name += "/one head of 8";
      r.prepare = [s] { return prepare<Eigen::RowMajor>(s, 7 * s.d, 3 * s.d); };
      break;
    case layout::padded:
      r.name += "/padded rows";
      r.prepare = [s] { return prepare<Eigen::RowMajor>(s, line, 0); };
      break;
  }
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  const shape one_head[] = {{.n = 512, .m = 512, .d = 64},
                            {.n = 2048, .m = 2048, .d = 64},
                            {.n = 4096, .m = 4096, .d = 128},
                            {.n = 1, .m = 4096, .d = 128}};
  for (const shape& s : one_head)
    for (const layout how : {layout::column_major, layout::head, layout::padded})
      rows.push_back(layout_row(how, s));
  for (const bench::index n : {512, 2048})
    rows.push_back(layout_row(layout::column_major, {.n = n, .m = n, .d = 64, .heads = 8}));
  return bench::run_rows(argc, argv, std::move(rows));
}
