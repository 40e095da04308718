#include "netra.hpp"

namespace transliterate {
namespace {

using softlook::index;
using matrix = netra::matrix;

constexpr index units = 64, embedding = 32;
constexpr std::size_t longest_word = 25;

// In the order of the tokenizers that the model was trained with.
constexpr std::string_view latin = "\uFFFDaohenrktusmbicplgyvdjzfwxq";
constexpr std::string_view khmer =
    "\uFFFD\u17D2\u17B6រកសបតនមង\u17B7លអច\u17BBវទយ\u17CBព\u17C6ហ\u17C4ជ\u17C1គ"
    "\u17B8ណញ\u17BCភ\u17C2ធដខ\u17BE\u17C9\u17C7\u17B9\u17BDឡថផ\u17C0\u17D0"
    "\u17C8ឆ\u17CD\u17C3\u17CAឋ\u17BAៗឌឧ\u17C5ឃឈ\u17CC\u17BFឥឱឫឯឍ\u17CE\u17CF"
    "ឪឩឲឦឮឰឳ។ឭឬ\t\n";

/// Keras keeps the gates as update, reset, candidate.
matrix reordered(const matrix& gates) {
  matrix out(gates.rows(), gates.cols());
  out << gates.middleCols(units, units), gates.leftCols(units), gates.rightCols(units);
  return out;
}

struct places {
  std::size_t W, U, b;
};
softlook::gru_parameters<float> gru(const weights_file& w, const places& at) {
  softlook::gru_parameters<float> p;
  p.Wx = reordered(w.at(at.W, embedding, 3 * units));
  p.Wh = reordered(w.at(at.U, units, 3 * units));
  const matrix b = reordered(w.at(at.b, 2, 3 * units));
  p.bx = b.row(0);
  p.bh = b.row(1);
  return p;
}

softlook::bahdanau_attention<float> attention(const weights_file& w) {
  const Eigen::RowVectorXf v = w.at(311344, 1, units);
  return softlook::bahdanau_attention<float>(softlook::scores::additive_projected{v});
}

matrix rows_of(const matrix& X, std::span<const index> rows) {
  matrix out(index(rows.size()), X.cols());
  for (index i = 0; i < out.rows(); ++i) out.row(i) = X.row(rows[std::size_t(i)]);
  return out;
}

matrix beside(const matrix& A, const matrix& B) {
  matrix both(A.rows(), A.cols() + B.cols());
  both << A, B;
  return both;
}

}  // namespace

netra::netra(const std::filesystem::path& folder)
    : netra(weights_file(folder / "netra.weights.h5")) {}

netra::netra(const weights_file& w)
    : latin_(latin),
      khmer_(khmer),
      source_(w.at(12824, 28, embedding)),
      target_(w.at(18840, 81, embedding)),
      forward_(gru(w, {.W = 115376, .U = 140552, .b = 189976})),
      backward_(gru(w, {.W = 35304, .U = 60480, .b = 109904})),
      decoder_(gru(w, {.W = 195544, .U = 220720, .b = 270144})),
      keys_(w.at(275616, 2 * units, units), w.at(308984, 1, units)),
      output_(w.at(316384, 2 * units, 81), w.at(358456, 1, 81)),
      attention_(attention(w)) {}

std::vector<index> netra::tokens_of(std::string_view word) const {
  return latin_.tokens(word, longest_word);
}

softlook::search_options netra::search() const {
  return {.begin = khmer_.token("\t"), .end = khmer_.token("\n"), .maximum_length = 32, .beam = 1};
}

void netra::state::select(std::span<const index> rows) { h = rows_of(h, rows); }

netra::sentence netra::read(std::span<const index> source) const {
  const matrix x = rows_of(source_, source);
  matrix h = matrix::Zero(1, units);
  const matrix there = forward_.sequence(x, h);
  h.setZero();
  const matrix back = backward_.sequence(x.colwise().reverse(), h);
  sentence read{attention_};
  read.attention.set_memory(keys_(beside(there, back.colwise().reverse())));
  return read;
}

softlook::seq2seq_step<float> netra::step(const sentence& read, std::span<const index> tokens,
                                          state& last) const {
  decoder_.advance(rows_of(target_, tokens), last.h);
  const auto seen = read.attention.step(last.h);
  return {output_(beside(last.h, seen.context)), seen.weights};
}

}  // namespace transliterate
