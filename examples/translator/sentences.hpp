#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace translator {

/// The sentences of a line of text, without the blanks between them; a blank line has none. The
/// model was trained on sentences: of twenty in a line it writes nine and ends.
///
/// A sentence ends after ".", "!", "?" or "…" and the quotes and brackets that close behind them,
/// where blanks follow and then no small letter and no mark. A single full stop ends none behind a
/// title or another short form of English or Portuguese that stands before a name or a number,
/// behind a single capital letter (an initial), or a number that begins the sentence (of a list).
std::vector<std::string> sentences_of(std::string_view line);

}  // namespace translator
