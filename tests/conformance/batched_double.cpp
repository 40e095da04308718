#include "batched.inl"

template conformance::attention_answer conformance::run<double>(const mode&, const attention_call&);
