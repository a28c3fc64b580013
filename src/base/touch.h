// Touch: reads a byte, so that what lies there is near when its turn comes.
//
// For random access to large tables, in short loops over many addresses: the reads of one loop
// overlap. A prefetch instruction would be the natural choice, but processors drop it when the
// address translation is not at hand, which in a virtual machine is nearly always: measured on
// 10 M remembered ids, prefetching hid nothing and reading hid almost everything.
#pragma once

namespace sightline {

inline void Touch(const void* at) { static_cast<void>(*static_cast<const volatile char*>(at)); }

}  // namespace sightline
