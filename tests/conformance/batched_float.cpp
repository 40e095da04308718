#include "batched.inl"

template conformance::attention_answer conformance::run<float>(const mode&, const attention_call&);
