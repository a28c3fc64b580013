#include "live/item_names.h"

#include "base/check.h"

namespace sightline {
namespace {

// An estimate: the node of the map, the name, and its text on the heap.
int64_t BytesOf(const ItemName& item) {
  return static_cast<int64_t>(sizeof(ItemName) + 48 + item.text.capacity());
}

}  // namespace

ItemName* ItemNames::Intern(std::string_view text) {
  if (const auto it = names_.find(text); it != names_.end()) return it->second.get();
  if (free_ids_.empty()) free_ids_.push_back(ids_++);
  auto item = std::make_unique<ItemName>(ItemName{std::string(text), free_ids_.back()});
  free_ids_.pop_back();
  ItemName* const name = item.get();
  names_.emplace(std::string_view(name->text), std::move(item));
  memory_bytes_ += BytesOf(*name);
  return name;
}

void ItemNames::Release(ItemName* item) {
  CHECK(item->holders > 0);
  if (--item->holders > 0) return;
  memory_bytes_ -= BytesOf(*item);
  free_ids_.push_back(item->id);
  names_.erase(names_.find(item->text));
}

}  // namespace sightline
