//! What a sender's token says.

use std::pin::Pin;

use insyn_receive::{Gate, Token};
use insyn_review::{Action, ReviewError, may};

use crate::app::App;

impl Gate for App {
    fn token<'a>(
        &'a self,
        bearer: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Token, String>> + Send + 'a>> {
        Box::pin(async move {
            match self.db.token(bearer).await {
                Ok(principal) if may(&principal, Action::SendLogs) => Ok(Token::Sender(principal.login)),
                Ok(_) => Ok(Token::Other),
                Err(ReviewError::BadToken) => Ok(Token::Unknown),
                Err(error) => {
                    tracing::error!("a sender's token cannot be looked up: {error}");
                    Err("tokens cannot be looked up now; send it again later".to_owned())
                }
            }
        })
    }
}
