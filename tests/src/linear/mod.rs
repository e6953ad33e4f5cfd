//! What one relay promises its own site of one key: every operation takes effect at one moment between its call and its
//! answer, through kills and restarts. Histories of the real program ([`contest`]), judged by a checker that others wrote
//! (`todc_utils`: the algorithm of Wing, Gong and Lowe, which remembers where it has been).
//!
//! ```text
//!  a session ├── put 7 ──────┤         ├── get: 9 ──┤
//!  another      ├── replace 7 by 9: done ──┤            ├── remove ── (no answer: done at some later moment, or never)
//! ```

pub mod contest;

use todc_utils::{Action, History, WGLChecker, specifications::Specification};

/// A value: no two writes have the same.
pub type Value = u64;

/// What was asked of a key. Versions are named by the values that have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Read.
    Get,
    /// Write.
    Put(Value),
    /// Write where nothing is.
    PutIfAbsent(Value),
    /// Write the second over the first.
    ReplaceIf(Value, Value),
    /// Remove.
    Remove,
    /// Remove that.
    RemoveIf(Value),
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// What is there, or was until it was removed.
    Held(Option<Value>),
    /// It was done; what was there before is not told.
    Done,
    /// The condition did not hold, because of what is there.
    Failed(Option<Value>),
}

/// An operation. Without an answer it was done at some moment after its call, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What was asked.
    pub asked: Asked,
    /// What was answered.
    pub answer: Option<Answer>,
}

/// One key, of nothing at first.
struct OneKey;

impl Specification for OneKey {
    type State = Option<Value>;
    type Operation = Step;

    fn init() -> Option<Value> {
        None
    }

    fn apply(step: &Step, state: &Option<Value>) -> (bool, Option<Value>) {
        let condition = |holds, after| if holds { (Answer::Done, after) } else { (Answer::Failed(*state), *state) };
        let (answer, after) = match step.asked {
            Asked::Get => (Answer::Held(*state), *state),
            Asked::Put(value) => (Answer::Done, Some(value)),
            Asked::Remove => (Answer::Held(*state), None),
            Asked::PutIfAbsent(value) => condition(state.is_none(), Some(value)),
            Asked::ReplaceIf(expected, value) => condition(*state == Some(expected), Some(value)),
            Asked::RemoveIf(expected) => condition(*state == Some(expected), None),
        };
        // A removal that was tried twice is answered without what was there.
        let without = step.asked == Asked::Remove && step.answer == Some(Answer::Done);
        (step.answer.is_none_or(|given| given == answer) || without, after)
    }
}

/// What happened to one key, in the order in which it did.
#[derive(Debug, Clone, Default)]
pub struct KeyHistory {
    steps: Vec<Step>,
    /// Calls and answers, by the number of the step.
    events: Vec<(usize, Event)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Called,
    Answered,
}

impl KeyHistory {
    /// Something is asked; its number.
    pub fn called(&mut self, asked: Asked) -> usize {
        self.steps.push(Step { asked, answer: None });
        self.events.push((self.steps.len() - 1, Event::Called));
        self.steps.len() - 1
    }

    /// That step was answered.
    pub fn answered(&mut self, step: usize, answer: Answer) {
        self.steps[step].answer = Some(answer);
        self.events.push((step, Event::Answered));
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many have no answer.
    pub fn unanswered(&self) -> usize {
        self.steps.iter().filter(|step| step.answer.is_none()).count()
    }

    /// Whether there is a moment for each operation at which it can have taken effect.
    pub fn is_linearizable(&self) -> bool {
        if self.steps.is_empty() {
            return true;
        }
        let of = |(step, event): &(usize, Event)| match event {
            Event::Called => (*step, Action::Call(self.steps[*step])),
            Event::Answered => (*step, Action::Response(self.steps[*step])),
        };
        // What was not answered takes effect after all else where it took none that anybody saw.
        let unanswered = (0..self.steps.len()).filter(|step| self.steps[*step].answer.is_none());
        let last = unanswered.map(|step| (step, Action::Response(self.steps[step])));
        WGLChecker::<OneKey>::is_linearizable(History::from_actions(self.events.iter().map(of).chain(last).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer::*, Asked::*, *};

    type Told = (Asked, Option<Answer>);

    /// One after the other.
    fn sequence(steps: &[Told]) -> KeyHistory {
        let mut history = KeyHistory::default();
        for (asked, answer) in steps {
            let step = history.called(*asked);
            if let Some(answer) = answer {
                history.answered(step, *answer);
            }
        }
        history
    }

    #[test]
    fn what_a_key_can_do_is_taken() {
        let history = sequence(&[
            (PutIfAbsent(1), Some(Done)),
            (PutIfAbsent(2), Some(Failed(Some(1)))),
            (ReplaceIf(1, 3), Some(Done)),
            (ReplaceIf(1, 4), Some(Failed(Some(3)))),
            (RemoveIf(1), Some(Failed(Some(3)))),
            (RemoveIf(3), Some(Done)),
            (Remove, Some(Held(None))),
            (Put(5), Some(Done)),
            (Remove, Some(Held(Some(5)))),
            (Get, Some(Held(None))),
        ]);
        assert!(history.is_linearizable());
    }

    #[test]
    fn what_was_not_answered_was_done_then_or_later_or_never() {
        for seen in [None, Some(1)] {
            assert!(sequence(&[(Put(1), None), (Get, Some(Held(seen)))]).is_linearizable(), "{seen:?}");
        }
        let later = [(Put(1), None), (Get, Some(Held(None))), (Get, Some(Held(Some(1))))];
        assert!(sequence(&later).is_linearizable());
        let undone = [(Put(1), None), (Get, Some(Held(Some(1)))), (Get, Some(Held(None)))];
        assert!(!sequence(&undone).is_linearizable(), "done once, it stays done");
    }

    #[test]
    fn broken_histories_are_refused() {
        let broken: [(&str, &[Told]); 6] = [
            ("a lost write", &[(Put(1), Some(Done)), (Get, Some(Held(None)))]),
            ("a stale read", &[(Put(1), Some(Done)), (Put(2), Some(Done)), (Get, Some(Held(Some(1))))]),
            ("two winners", &[(PutIfAbsent(1), Some(Done)), (PutIfAbsent(2), Some(Done))]),
            ("a lost removal", &[(Put(1), Some(Done)), (Remove, Some(Held(Some(1)))), (Get, Some(Held(Some(1))))]),
            ("a replacement of what is not there", &[(Put(1), Some(Done)), (ReplaceIf(2, 3), Some(Done))]),
            ("a refusal without a reason", &[(Put(1), Some(Done)), (RemoveIf(1), Some(Failed(Some(1))))]),
        ];
        for (name, steps) in broken {
            assert!(!sequence(steps).is_linearizable(), "{name}");
        }
        // Two at once that both replace the same.
        let mut history = sequence(&[(Put(1), Some(Done))]);
        let both = [history.called(ReplaceIf(1, 2)), history.called(ReplaceIf(1, 3))];
        both.into_iter().for_each(|step| history.answered(step, Done));
        assert!(!history.is_linearizable());
    }
}
