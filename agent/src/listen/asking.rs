//! What commands ask of the relay through the agent's session: that the tunnel answers otherwise. One question at a time is on its way.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tunnel_protocol::{AnswerMode, Answers, SetAnswer};

/// How many questions may wait for the one before them.
const WAITING: usize = 8;
/// How long a question may take, with what waits before it.
const WITHIN: Duration = Duration::from_secs(10);

/// Why the tunnel does not answer otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotSet {
    /// The relay's answer is no, or it knows no such question.
    Refused(String),
    /// It could not be asked, or its answer is not known.
    Unanswered(String),
}

/// A question and where its answer goes.
pub(super) struct Question {
    mode: AnswerMode,
    told: oneshot::Sender<Result<(), NotSet>>,
}

/// Asks.
#[derive(Clone, Debug)]
pub struct Asking(mpsc::Sender<Question>);

/// A way to ask, and where the questions come out.
pub(super) fn pair() -> (Asking, mpsc::Receiver<Question>) {
    let (tx, rx) = mpsc::channel(WAITING);
    (Asking(tx), rx)
}

impl Asking {
    /// Has the relay answer the tunnel's senders in that way from now on.
    ///
    /// # Errors
    /// Why it does not, or why that is not known.
    pub(crate) async fn set_answer(&self, mode: AnswerMode) -> Result<(), NotSet> {
        let unanswered = |why: &str| NotSet::Unanswered(why.to_owned());
        let (told, answer) = oneshot::channel();
        let asked = self.0.try_send(Question { mode, told });
        asked.map_err(|_| unanswered("too many questions wait for the relay"))?;
        match tokio::time::timeout(WITHIN, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unanswered("the connection to the relay broke before it answered")),
            Err(_) => Err(unanswered(&format!("the relay did not answer within {} s", WITHIN.as_secs()))),
        }
    }
}

/// The question that is on its way in a session. Dropped with the session, it tells whoever asked.
#[derive(Default)]
pub(super) struct Asked {
    numbers: u64,
    open: Option<(u64, oneshot::Sender<Result<(), NotSet>>)>,
}

impl Asked {
    /// Whether the next question may go out.
    pub(super) fn is_free(&self) -> bool {
        self.open.is_none()
    }

    /// The frame that asks; nothing where nobody waits for the answer any more, or where the relay cannot be asked.
    pub(super) fn ask(&mut self, question: Question, sets_answer: bool) -> Option<SetAnswer> {
        if question.told.is_closed() {
            return None;
        }
        if !sets_answer {
            let why = "this relay is of an older version, in which only its operator can change how a tunnel answers";
            let _ = question.told.send(Err(NotSet::Refused(why.into())));
            return None;
        }
        self.numbers += 1;
        self.open = Some((self.numbers, question.told));
        Some(SetAnswer { asked: self.numbers, mode: question.mode })
    }

    /// The relay said something about the mode; it may be the answer.
    pub(super) fn told(&mut self, answers: &Answers) {
        if let Some((_, told)) = self.open.take_if(|(asked, _)| *asked == answers.asked) {
            // Whoever asked may have given up.
            let _ = told.send(match &answers.refused {
                None => Ok(()),
                Some(why) => Err(NotSet::Refused(format!("the relay refuses: {why}"))),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(asked: u64, refused: Option<&str>) -> Answers {
        Answers { asked, mode: AnswerMode::Ack, refused: refused.map(str::to_owned) }
    }

    #[tokio::test]
    async fn each_question_gets_its_own_answer() {
        let (asking, mut questions) = pair();
        let mut asked = Asked::default();
        let first = tokio::spawn({
            let asking = asking.clone();
            async move { asking.set_answer(AnswerMode::Passthrough).await }
        });
        let frame = asked.ask(questions.recv().await.unwrap(), true).unwrap();
        assert_eq!(frame, SetAnswer { asked: 1, mode: AnswerMode::Passthrough });
        assert!(!asked.is_free());
        // Told to everybody, and an answer to nothing.
        asked.told(&answers(0, None));
        asked.told(&answers(7, Some("no")));
        assert!(!first.is_finished() && !asked.is_free());
        asked.told(&answers(1, None));
        assert_eq!(first.await.unwrap(), Ok(()));

        for (sets_answer, said) in [(true, "the relay refuses: no"), (false, "older version")] {
            let next = tokio::spawn({
                let asking = asking.clone();
                async move { asking.set_answer(AnswerMode::Ack).await }
            });
            let frame = asked.ask(questions.recv().await.unwrap(), sets_answer);
            if let Some(frame) = frame {
                asked.told(&answers(frame.asked, Some("no")));
            }
            let Err(NotSet::Refused(why)) = next.await.unwrap() else { panic!("it was refused") };
            assert!(why.contains(said), "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_ends_or_is_not_there_is_told() {
        let (asking, mut questions) = pair();
        let mut asked = Asked::default();
        let waits = tokio::spawn({
            let asking = asking.clone();
            async move { asking.set_answer(AnswerMode::Ack).await }
        });
        asked.ask(questions.recv().await.unwrap(), true);
        drop(asked);
        let told = |said| match said {
            Err(NotSet::Unanswered(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(told(waits.await.unwrap()).contains("broke"));
        assert!(told(asking.set_answer(AnswerMode::Ack).await).contains("within 10 s"));
        // What nobody waits for any more is not asked when there is a session again.
        assert_eq!(Asked::default().ask(questions.recv().await.unwrap(), true), None);
    }
}
