//! The runs of the store, and where in its log a token of one of them is good.

use landbridge_protocol::{position::Sequence, version::Origin};

use super::replica::Replica;

impl Replica {
    /// Whether a position in the log of that run is good in the present one: it is this run, or one of this store that ended
    /// in order with none between that did not.
    pub fn continues(&self, origin: &Origin) -> bool {
        let runs = self.runs();
        let at = runs.iter().position(|run| run.run == origin.run);
        let all_in_order = |at: usize| runs[at..runs.len() - 1].iter().all(|run| run.ended_in_order);
        origin.site == self.site() && at.is_some_and(all_in_order)
    }

    /// Whether this store has that run, and the sequence lies within it.
    pub fn had(&self, origin: &Origin, sequence: Sequence) -> bool {
        let runs = self.runs();
        let ends = runs.iter().skip(1).map(|next| next.first.previous()).chain([self.head()]);
        let end = runs.iter().zip(ends).find(|(known, _)| known.run == origin.run).map(|(_, end)| end);
        origin.site == self.site() && end.is_some_and(|end| sequence <= end)
    }

    /// The run before the present one, and its last sequence.
    pub fn former(&self) -> Option<(Origin, Sequence)> {
        let [.., former, present] = self.runs() else { return None };
        Some((Origin { site: self.site(), run: former.run }, present.first.previous()))
    }
}
