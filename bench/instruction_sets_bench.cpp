// What does each instruction set reach of its own P? The machine may have a better one: these are
// the figures of machines that do not.

#include "support/forward.hpp"

namespace {

using bench::shape;

[[nodiscard]] bench::row pinned_row(softlook::instruction_set isa, const shape& s) {
  bench::row r = bench::dot_row<float>(bench::path::flash, s);
  r.name += std::string("/") + softlook::name_of(isa);
  r.register_bytes = isa == softlook::instruction_set::avx512 ? 64
                     : isa == softlook::instruction_set::avx2 ? 32
                                                              : 16;
  r.prepare = [isa, s] {
    const softlook::options pinned{.isa = isa};
    return bench::dot_work<float>(s, [pinned, causal = s.causal](const auto& in, auto& O) {
      if (causal)
        softlook::flash_attention_into(in.Q, in.K, in.V, O, softlook::masks::causal_top_left{},
                                       pinned);
      else
        softlook::flash_attention_into(in.Q, in.K, in.V, O, pinned);
    });
  };
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<bench::row> rows;
  for (const softlook::instruction_set isa : softlook::available_instruction_sets()) {
    rows.push_back(pinned_row(isa, {.n = 2048, .m = 2048, .d = 64}));
    rows.push_back(pinned_row(isa, {.n = 2048, .m = 2048, .d = 128}));
    rows.push_back(pinned_row(isa, {.n = 2048, .m = 2048, .d = 128, .causal = true}));
  }
  return bench::run_rows(argc, argv, std::move(rows));
}
