//! A private key in a token, found and tried: it signs, and its public half is known.
//!
//! A URI leads to one key or to none. Two that fit are refused: which one signs must not depend on
//! the order in which a token lists them.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};

use crate::algorithm::Algorithm;
use crate::error::TokenError;
use crate::module::module;
use crate::pin::Pin;
use crate::uri::KeyUri;

/// What is signed when a key is opened: nothing that anybody could take for something else.
const TRIAL: &[u8] = b"Is this the key of that public key?";

/// A private key in a token. It signs as long as this lives and the token is there.
pub struct TokenKey {
    uri: KeyUri,
    algorithm: Algorithm,
    public_key: Box<[u8]>,
    handle: ObjectHandle,
    /// One thread at a time may use it.
    session: Mutex<Session>,
}

impl TokenKey {
    /// Opens the key that `uri` leads to, and tries it. The PIN is `pin`, or where there is none,
    /// what stands in the file that the URI names.
    ///
    /// A token is opened for a whole process: while one of its keys is open, no other PIN is looked
    /// at.
    ///
    /// # Errors
    /// [`TokenError`] says what is in the way.
    pub fn open(uri: &KeyUri, pin: Option<&Pin>) -> Result<Self, TokenError> {
        let token = Token::open(uri, pin, Access::Read)?;
        let handle = token.private_key(uri)?;
        Self::tried(token, uri, handle)
    }

    /// Makes a key in the token that never leaves it, called as `uri` says, and opens it.
    ///
    /// # Errors
    /// [`TokenError::KeyExists`], and what else is in the way.
    pub fn make(uri: &KeyUri, pin: Option<&Pin>, algorithm: Algorithm) -> Result<Self, TokenError> {
        let token = Token::open(uri, pin, Access::Write)?;
        if !token.find(ObjectClass::PRIVATE_KEY, uri)?.is_empty() {
            let (token, wanted) = (token.name, uri.key_words());
            return Err(TokenError::KeyExists { token, wanted });
        }
        let handle = token.make(uri, algorithm)?;
        Self::tried(token, uri, handle)
    }

    fn tried(token: Token, uri: &KeyUri, handle: ObjectHandle) -> Result<Self, TokenError> {
        let (algorithm, public_key) = token.public_half(uri, handle)?;
        let key = Self {
            uri: uri.clone(),
            algorithm,
            public_key,
            handle,
            session: Mutex::new(token.session),
        };
        let signature = key.sign(TRIAL)?;
        if !algorithm.verifies(&key.public_key, TRIAL, &signature) {
            let (token, wanted) = (token.name, uri.key_words());
            return Err(TokenError::OtherPublicKey { token, wanted });
        }
        Ok(key)
    }

    /// Signs `message`, as X.509 and TLS write a signature. Others wait meanwhile.
    ///
    /// # Errors
    /// [`TokenError::Failed`], for one when the token was taken away.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let (mechanism, signed) = self.algorithm.operation(message);
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = session.sign(&mechanism, self.handle, &signed);
        drop(session);
        let signature = signature.map_err(TokenError::failed("sign"))?;
        self.algorithm
            .written(signature)
            .ok_or(TokenError::BadSignature)
    }

    /// Where it is.
    pub fn uri(&self) -> &KeyUri {
        &self.uri
    }

    /// With what it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its public half: a subject public key info, DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("TokenKey");
        f.field("uri", &self.uri.as_str()).finish_non_exhaustive()
    }
}

/// What a session is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// A token that was opened.
struct Token {
    session: Session,
    /// Its label, for words.
    name: String,
}

impl Token {
    fn open(uri: &KeyUri, pin: Option<&Pin>, access: Access) -> Result<Self, TokenError> {
        let module = module(uri.module_path())?;
        let (slot, info) = find_token(&module, uri)?;
        let session = match access {
            Access::Read => module.open_ro_session(slot),
            Access::Write => module.open_rw_session(slot),
        };
        let token = Self {
            session: session.map_err(TokenError::failed("begin a session"))?,
            name: info.label().to_owned(),
        };
        token.log_in(&info, uri, pin)?;
        Ok(token)
    }

    fn log_in(&self, info: &TokenInfo, uri: &KeyUri, pin: Option<&Pin>) -> Result<(), TokenError> {
        let from_file = match (pin, uri.pin_source()) {
            (None, Some(path)) => Some(Pin::read(path)?),
            (Some(_), _) | (None, None) => None,
        };
        let pin = pin.or(from_file.as_ref()).map(Pin::to_auth);
        // With a keypad of its own it asks by itself.
        if pin.is_none() && !info.protected_authentication_path() {
            let token = self.name.clone();
            let needed = info.login_required();
            return if needed {
                Err(TokenError::NoPin { token })
            } else {
                Ok(())
            };
        }
        let token = || self.name.clone();
        match self.session.login(UserType::User, pin.as_ref()) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => Err(TokenError::WrongPin { token: token() }),
            Err(Error::Pkcs11(RvError::PinLocked, _)) => {
                Err(TokenError::PinLocked { token: token() })
            }
            Err(source) => Err(TokenError::failed("be opened")(source)),
        }
    }

    fn private_key(&self, uri: &KeyUri) -> Result<ObjectHandle, TokenError> {
        let (token, wanted) = (self.name.clone(), uri.key_words());
        match *self.find(ObjectClass::PRIVATE_KEY, uri)? {
            [only] => Ok(only),
            [] => Err(TokenError::NoKey { token, wanted }),
            ref several => Err(TokenError::SeveralKeys {
                count: several.len(),
                token,
                wanted,
            }),
        }
    }

    /// All objects of a class that fit.
    fn find(&self, class: ObjectClass, uri: &KeyUri) -> Result<Vec<ObjectHandle>, TokenError> {
        let template = [vec![Attribute::Class(class)], names(uri)].concat();
        let found = self.session.find_objects(&template);
        found.map_err(TokenError::failed("look for a key"))
    }

    /// With what a private key signs, and its public key, which is another object of the token.
    fn public_half(
        &self,
        uri: &KeyUri,
        private: ObjectHandle,
    ) -> Result<(Algorithm, Box<[u8]>), TokenError> {
        let (token, wanted) = (self.name.clone(), uri.key_words());
        let of = [
            AttributeType::EcParams,
            AttributeType::Id,
            AttributeType::Label,
        ];
        let (mut curve, mut id, mut label) = (None, None, None);
        for attribute in self.attributes(private, &of)? {
            match attribute {
                Attribute::EcParams(params) => curve = Algorithm::of_curve(&params),
                Attribute::Id(octets) if !octets.is_empty() => id = Some(Attribute::Id(octets)),
                Attribute::Label(octets) => label = Some(Attribute::Label(octets)),
                _ => {}
            }
        }
        let Some(algorithm) = curve else {
            return Err(TokenError::Algorithm { token, wanted });
        };
        // What belongs together has one id; only where there is none does the name count.
        let template: Vec<_> = [Attribute::Class(ObjectClass::PUBLIC_KEY)]
            .into_iter()
            .chain(id.or(label))
            .collect();
        let found = self.session.find_objects(&template);
        for public in found.map_err(TokenError::failed("look for a public key"))? {
            for attribute in self.attributes(public, &[AttributeType::EcPoint])? {
                if let Attribute::EcPoint(point) = attribute
                    && let Some(info) = algorithm.info(&point)
                {
                    return Ok((algorithm, info));
                }
            }
        }
        Err(TokenError::NoPublicKey { token, wanted })
    }

    fn attributes(
        &self,
        object: ObjectHandle,
        types: &[AttributeType],
    ) -> Result<Vec<Attribute>, TokenError> {
        let found = self.session.get_attributes(object, types);
        found.map_err(TokenError::failed("say what a key is"))
    }

    fn make(&self, uri: &KeyUri, algorithm: Algorithm) -> Result<ObjectHandle, TokenError> {
        let mechanism = match algorithm {
            Algorithm::P256 | Algorithm::P384 => Mechanism::EccKeyPairGen,
            Algorithm::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        };
        let mut names = names(uri);
        if uri.id.is_none() {
            let mut id = [0; 16];
            rand::fill(&mut id).map_err(|_| TokenError::NoRandomness)?;
            names.push(Attribute::Id(id.into()));
        }
        let public = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(algorithm.curve().into()),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        let made = self.session.generate_key_pair(
            &mechanism,
            &[&public[..], &names].concat(),
            &[&private[..], &names].concat(),
        );
        let (_public, private) = made.map_err(TokenError::failed("make a key"))?;
        Ok(private)
    }
}

/// What a URI says of a key.
fn names(uri: &KeyUri) -> Vec<Attribute> {
    let label = uri.object.iter();
    let label = label.map(|label| Attribute::Label(label.as_bytes().into()));
    let id = uri.id.iter().map(|id| Attribute::Id(id.to_vec()));
    label.chain(id).collect()
}

/// The one token that fits.
fn find_token(
    module: &cryptoki::context::Pkcs11,
    uri: &KeyUri,
) -> Result<(Slot, TokenInfo), TokenError> {
    let failed = || TokenError::failed("say what it is");
    let mut found = Vec::new();
    for slot in module.get_slots_with_token().map_err(failed())? {
        let info = module.get_token_info(slot).map_err(failed())?;
        if info.token_initialized() && fits(&info, uri) {
            found.push((slot, info));
        }
    }
    let wanted = uri.token.to_string();
    let count = found.len();
    match found.pop() {
        None => Err(TokenError::NoToken {
            wanted,
            module: uri.module_path().into(),
        }),
        Some(only) if count == 1 => Ok(only),
        Some(_) => Err(TokenError::SeveralTokens { count, wanted }),
    }
}

fn fits(info: &TokenInfo, uri: &KeyUri) -> bool {
    let is = [
        info.label(),
        info.manufacturer_id(),
        info.model(),
        info.serial_number(),
    ];
    let wanted = uri.token.attributes().into_iter();
    wanted
        .zip(is)
        .all(|((_, wanted), is)| wanted.is_none_or(|wanted| wanted == is))
}
