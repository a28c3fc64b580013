// Touch: reads one byte, so that its cache line has been loaded when it is needed.
//
// It is for random access to large tables, in short loops over many addresses: the loads of one
// loop overlap. A prefetch instruction would be the natural choice, but processors drop it when the
// address translation is not at hand, which in a virtual machine is nearly always the case.
// Measured with 10 M remembered ids, prefetch instructions hid nothing and plain loads hid almost
// all of the latency.
#pragma once

namespace sightline {

inline void Touch(const void* at) { static_cast<void>(*static_cast<const volatile char*>(at)); }

}  // namespace sightline
