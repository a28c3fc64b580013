// ItemNames: keeps each item name in memory once, however many panes and locations count it.
//
// Not thread-safe: PaneStore owns it. A name is reference-counted; it lives while somebody holds
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sightline {

struct ItemName {
  std::string text;
  uint32_t id = 0;      // small and dense; no other living name has it
  int64_t holders = 0;  // the reference count, which only ItemNames changes
};

class ItemNames {
 public:
  // The one ItemName of `text`. The next Release() may free it unless it is held.
  ItemName* Intern(std::string_view text);
  void Hold(ItemName* item) { ++item->holders; }
  // Frees the name when this was its last holder.
  void Release(ItemName* item);

  int64_t size() const { return static_cast<int64_t>(names_.size()); }
  uint32_t ids() const { return ids_; }  // every id is less
  int64_t memory_bytes() const { return memory_bytes_; }

 private:
  std::unordered_map<std::string_view, std::unique_ptr<ItemName>> names_;  // keys view the values
  uint32_t ids_ = 0;
  std::vector<uint32_t> free_ids_;
  int64_t memory_bytes_ = 0;
};

}  // namespace sightline
