// ItemNames: each item name once in memory, whatever number of panes and locations counts it.
//
// Not thread-safe. A name lives while somebody holds it.
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
  uint32_t id = 0;      // small and dense; of nobody else as long as this lives
  int64_t holders = 0;  // of ItemNames only
};

class ItemNames {
 public:
  // The one ItemName of `text`. It may go away with the next Release() unless it is held.
  ItemName* Intern(std::string_view text);
  void Hold(ItemName* item) { ++item->holders; }
  // Frees the name when nobody holds it any more.
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
