//! How many there are, in words.

use super::layout::Layout;

fn three(layout: &Layout) -> bool {
    layout.sites().len() == 3
}

/// Of the sites.
pub(super) fn sites_in_words(layout: &Layout) -> &'static str {
    if three(layout) { "three" } else { "two" }
}

/// Of the nodes.
pub(super) fn nodes_in_words(layout: &Layout) -> &'static str {
    if three(layout) { "six" } else { "four" }
}

/// Of what there is one of at each site.
pub(super) fn all_of(layout: &Layout) -> &'static str {
    if three(layout) { "all three" } else { "both" }
}

/// Who does what all sites do.
pub(super) fn who(layout: &Layout) -> &'static str {
    if three(layout) { "all" } else { "both" }
}
