#include "indicate.hpp"

namespace transliterate {
namespace {

using softlook::index;

constexpr index units = 1024, embedding = 256;
constexpr std::size_t longest_word = 47;

// In the order of the tokenizers that the model was trained with.
constexpr std::string_view devanagari =
    "\u093Eर\u094Dन\u093Fसकमल\u0940\u0947\u0902\u094Bपवयतट\u0941बजगद डहश"
    "\u0942ए\u0948चफअ\u093Cइआणधथईभषखउ\u094C\u0943घछठ\u0949ढओ\u0901झञ.aऊ()ऑऐ\u095Fs"
    "\u0903\u095Bऔr\u095Cऋ।in:ङmhot-kpev/@ud\u0945jळl\u200D৺y\u095E\u0958c\u0946ऱbg\u09BEऎऩ\u0BCD"
    "দনল\u0959\u094A,z\u09CDমজ\u09BFর\u095Dऍண\u0BBEடர\u095A\u09C1ক’\u200C॰'32மஙக\u0BBFà·ச"
    "\u0BC1நதஜனআবখ\u09C7ৰ\u0981\u0954\u09CBচঅধ\u09C0ऌ`w\tসহউॐ";
constexpr std::string_view latin = "a^$inreshtolmdukpcbgyv jwfzxq()/-@:";

softlook::luong_model<float> read_model(const weights_file& encoder, const weights_file& decoder) {
  softlook::luong_parameters<float> p;
  p.source_embedding = encoder.at(0, 166, embedding);
  p.target_embedding = decoder.at(0, 36, embedding);
  p.encoder.resize(1);
  p.encoder[0].Wx = encoder.at(169984, embedding, 4 * units);
  p.encoder[0].Wh = encoder.at(4364288, units, 4 * units);
  p.encoder[0].bx = encoder.at(21141504, 1, 4 * units);
  p.decoder.resize(1);
  p.decoder[0].Wx = decoder.at(184464, embedding + units, 4 * units);
  p.decoder[0].Wh = decoder.at(21155984, units, 4 * units);
  p.decoder[0].bx = decoder.at(37933200, 1, 4 * units);
  // The file's matrix multiplies keys: q · (k·M) = q·Mᵀ·kᵀ.
  const matrix W = decoder.at(37949584, units, units).transpose();
  p.attention = softlook::luong_attention<float>(softlook::scores::general{W});
  const matrix combine = decoder.at(42143888, 2 * units, units);  // of [h, c]
  p.Wc.resize(2 * units, units);
  p.Wc << combine.bottomRows(units), combine.topRows(units);
  p.Wo = decoder.at(36864, units, 36);
  p.bo = decoder.at(184320, 1, 36);
  p.start = softlook::luong_start::zero;
  p.squash = false;
  return softlook::luong_model<float>(p);
}

}  // namespace

indicate::indicate(const std::filesystem::path& folder)
    : devanagari_(devanagari),
      latin_(latin),
      model_(read_model(weights_file(folder / "indicate.encoder.data"),
                        weights_file(folder / "indicate.decoder.data"))) {}

std::vector<index> indicate::tokens_of(std::string_view word) const {
  return devanagari_.tokens(word, longest_word);
}

softlook::search_options indicate::search() const {
  return {.begin = latin_.token("^"), .end = latin_.token("$"), .maximum_length = 49, .beam = 1};
}

}  // namespace transliterate
